//! A wire between the gateway and its server that can be cut, silenced and mended.

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Pass,
    /// Connections are taken and stay open, and no byte passes.
    Silent,
    /// Connections end, new ones at once.
    Cut,
}

pub struct Wire {
    pub port: u16,
    mode: watch::Sender<Mode>,
}

impl Wire {
    pub async fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (mode, watched) = watch::channel(Mode::Pass);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, watched.clone()));
            }
        });
        Self { port, mode }
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }
}

async fn carry(mut client: TcpStream, server: u16, mut mode: watch::Receiver<Mode>) {
    if mode.wait_for(|mode| *mode != Mode::Silent).await.is_err() || *mode.borrow() == Mode::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let (mut from_client, mut from_server) = ([0; 16 * 1024], [0; 16 * 1024]);
    loop {
        let now = *mode.borrow_and_update();
        let pass = now == Mode::Pass;
        if now == Mode::Cut {
            return;
        }
        let done = tokio::select! {
            changed = mode.changed() => changed.is_err(),
            read = client.read(&mut from_client), if pass => match read {
                Ok(size @ 1..) => server.write_all(&from_client[..size]).await.is_err(),
                _ => true,
            },
            read = server.read(&mut from_server), if pass => match read {
                Ok(size @ 1..) => client.write_all(&from_server[..size]).await.is_err(),
                _ => true,
            },
        };
        if done {
            return;
        }
    }
}
