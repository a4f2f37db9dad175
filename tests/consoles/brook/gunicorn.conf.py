"""`gunicorn 'brook:create_app()'` in this folder. BROOK_BIND: `host:port` or `unix:/path`."""

import os

bind = os.environ.get("BROOK_BIND", "127.0.0.1:8200")
worker_class = "gthread"
workers = 1
threads = 4
keepalive = 60
control_socket_disable = True
