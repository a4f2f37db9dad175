# syntax=docker/dockerfile:1
# Brook, the small Console of tests/consoles/brook, with the gate's two lines: for compose.brook.yaml.

FROM python:3.11-slim-bookworm
WORKDIR /app
COPY tests/consoles/brook/requirements.txt requirements.txt
# psycopg is for Postgres; Brook's own database is SQLite.
RUN pip install --no-cache-dir -r requirements.txt "psycopg[binary]==3.3.9"
COPY deploy/flask /tmp/flask
RUN pip install --no-cache-dir "/tmp/flask[flask]" && rm -rf /tmp/flask
COPY tests/consoles/brook/brook.py tests/consoles/brook/people.json tests/consoles/brook/gunicorn.conf.py ./
COPY tests/consoles/brook/templates templates
USER 65532:65532
EXPOSE 8000
HEALTHCHECK --interval=5s --timeout=3s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz')"]
CMD ["gunicorn", "brook:create_app()"]
