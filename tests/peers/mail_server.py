"""A mail server for tests: aiosmtpd, which asks for STARTTLS and a sign-in, puts off the first message, and prints what it takes.

Arguments: certificate, key, password of `gate`. Prints its port, then one JSON object per message.
"""

import asyncio
import json
import ssl
import sys

from aiosmtpd.smtp import SMTP, AuthResult


class Handler:
    put_off = 1

    async def handle_DATA(self, server, session, envelope):
        if Handler.put_off:
            Handler.put_off -= 1
            return "451 4.3.0 try again later"
        taken = {
            "from": envelope.mail_from,
            "to": envelope.rcpt_tos,
            "tls": session.ssl is not None,
            "content": envelope.content.decode(),
        }
        print(json.dumps(taken), flush=True)
        return "250 2.0.0 taken"


def authenticate(server, session, envelope, mechanism, data):
    good = data.login == b"gate" and data.password == sys.argv[3].encode()
    return AuthResult(success=good, handled=False)


async def main():
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(sys.argv[1], sys.argv[2])

    def session():
        return SMTP(
            Handler(),
            hostname="localhost",
            tls_context=context,
            require_starttls=True,
            auth_required=True,
            authenticator=authenticate,
        )

    server = await asyncio.get_running_loop().create_server(session, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
