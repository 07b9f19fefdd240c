"""A web page with the oldest hole there is: what comes in the URL goes into the SQL. Its database is whatever libpq's environment says.

Prints its port, serves `/order?id=…` until its standard input ends.
"""

import http.server
import sys
import threading
import urllib.parse

import psycopg


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        try:
            # A simple query, so that a second statement after `;` is not refused by the protocol itself.
            with self.server.pool.acquire() as db:
                rows = db.execute("SELECT id, note FROM orders WHERE id = " + query.get("id", ["0"])[0]).fetchall()
            status, body = 200, "".join(f"<p>{row}</p>" for row in rows)
        except psycopg.Error as error:
            status, body = 500, f"<pre>{error}</pre>"
        data = body.encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


class One:
    """One connection, made anew when it broke."""

    def __init__(self):
        self.lock, self.db = threading.Lock(), None

    def acquire(self):
        return self

    def __enter__(self):
        self.lock.acquire()
        try:
            if self.db is None or self.db.closed:
                self.db = psycopg.connect(autocommit=True, cursor_factory=psycopg.ClientCursor)
                self.db.execute("SET statement_timeout = '3s'")
            return self.db
        except BaseException:
            self.lock.release()
            raise

    def __exit__(self, *_):
        if not self.db.closed and self.db.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self.db.rollback()
        self.lock.release()


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
server.pool = One()
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_address[1], flush=True)
sys.stdin.read()
