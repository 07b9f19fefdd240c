//! The Debian package: what is in it, that its programs run where it is unpacked, and that its unit is sound.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that can't go on stops")]

mod support;

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    os::unix::net::UnixDatagram,
    path::Path,
    process::{Command, Stdio},
};

use support::{Ran, node::Place};

fn ran(command: &mut Command) -> Ran {
    Ran::of(command.stdin(Stdio::null()).output().unwrap())
}

#[test]
fn the_package_unpacks_and_its_programs_run() {
    let folder = tempfile::tempdir().unwrap();
    let binaries = Path::new(env!("CARGO_BIN_EXE_safeconduct")).parent().unwrap();
    if !binaries.join("safeconduct-verify").exists() {
        ran(Command::new(env!("CARGO")).args(["build", "--locked", "--quiet", "-p", "safeconduct-verify"]).current_dir(support::root()))
            .ok();
    }
    let mut package = Command::new(support::root().join("scripts/package.sh"));
    package.env("BINARIES", binaries).env("OUT", folder.path()).env("COMPRESSION", "none").env("COMPRESSION_LEVEL", "1");
    let made = ran(package.env("TMPDIR", folder.path())).ok().out;
    let files: Vec<&str> = made.lines().collect();
    let [deb, tarball] = files.as_slice() else { panic!("{made}") };
    for file in [deb, tarball] {
        let sums = format!("{file}.sha256");
        ran(Command::new("sha256sum").args(["--check", "--strict", &sums]).current_dir(folder.path())).ok();
    }
    let root = folder.path().join("root");
    ran(Command::new("dpkg-deb").args(["-x", deb]).arg(&root)).ok();
    for program in ["safeconduct", "safeconduct-verify"] {
        let said = ran(Command::new(root.join("usr/bin").join(program)).arg("--version")).ok().out;
        assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
    }
    let about = ran(Command::new("dpkg-deb").args(["-I", deb])).ok().out;
    for part in ["conffiles", "postinst", "prerm", "postrm", "Depends: libc6 (>= 2.", "Package: safeconduct"] {
        assert!(about.contains(part), "{part} in {about}");
    }
    let mode = fs::metadata(root.join("usr/bin/safeconduct")).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o755, "nothing is set-user-id");
    let listed = ran(Command::new("tar").args(["-tzf", tarball])).ok().out;
    assert!(listed.contains("/bin/safeconduct-verify") && listed.contains("/systemd/safeconduct.service"), "{listed}");
    // The sample's settings are settings.
    let text = fs::read_to_string(root.join("etc/safeconduct/safeconduct.toml")).unwrap();
    let (data, keys) = (folder.path().join("none"), folder.path().join("keys"));
    let text = text.replace("/var/lib/safeconduct", data.to_str().unwrap()).replace("/etc/safeconduct/keys", keys.to_str().unwrap());
    let sample = folder.path().join("sample.toml");
    fs::write(&sample, text).unwrap();
    let refused = support::run(folder.path(), &["backup", folder.path().join("b").to_str().unwrap(), "--config", sample.to_str().unwrap()]);
    assert!(refused.err.contains("CLI-001") && !refused.err.contains("SERVE-001"), "{}", refused.page());

    if Command::new("systemd-analyze").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        let unit = root.join("usr/lib/systemd/system/safeconduct.service");
        let safe = ran(Command::new("systemd-analyze").args(["security", "--offline=true", "--threshold=20", "--no-pager"]).arg(&unit));
        assert_eq!(safe.status, 0, "{}", safe.page());
        // It looks for the program where the unit says: the package's own root.
        let text = fs::read_to_string(&unit).unwrap().replace("/usr/bin/safeconduct", root.join("usr/bin/safeconduct").to_str().unwrap());
        let here = folder.path().join("safeconduct.service");
        fs::write(&here, text).unwrap();
        let sound = ran(Command::new("systemd-analyze").args(["verify", "--man=no", "--recursive-errors=no"]).arg(&here));
        assert!(sound.status == 0 && !sound.err.contains("safeconduct.service:"), "{}", sound.page());
    }
}

#[test]
fn the_service_manager_hears_when_it_serves_loads_and_stops() {
    let place = Place::new();
    let socket = place.path("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(std::time::Duration::from_secs(60))).unwrap();
    let hears = |what: &str| {
        let mut said = [0; 256];
        let read = manager.recv(&mut said).unwrap();
        assert!(String::from_utf8_lossy(&said[..read]).starts_with(what), "{what}: {}", String::from_utf8_lossy(&said[..read]));
    };
    let mut gateway = place.start_with(&[("NOTIFY_SOCKET", socket.to_str().unwrap())]);
    hears("READY=1");
    gateway.signal("HUP");
    hears("RELOADING=1\nMONOTONIC_USEC=");
    hears("READY=1");
    gateway.stop();
    hears("STOPPING=1");
}
