//! A mail server: enough of SMTP (RFC 5321), STARTTLS (RFC 3207) and AUTH PLAIN (RFC 4954), with all that can be wrong.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The login that it takes.
pub(crate) const USER: &str = "console-gate";
pub(crate) const PASSWORD: &str = "hunter2";

/// How it behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mood {
    #[default]
    Honest,
    /// Every recipient is unknown.
    RefusesRecipients,
    /// Of several recipients, the last one is unknown.
    RefusesTheLast,
    /// Come back later.
    Greylists,
    /// It says no to the whole mail.
    RefusesTheMail,
    /// It hangs up within the mail.
    HangsUp,
    /// It says nothing at all.
    Silent,
    /// No more connections.
    Full,
}

/// What it offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offers {
    Nothing,
    StartTls,
    /// From the first byte.
    Tls,
}

/// A mail that it has taken.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    pub(crate) from: String,
    pub(crate) to: Vec<String>,
    pub(crate) text: String,
    pub(crate) is_encrypted: bool,
    pub(crate) login: Option<String>,
}

struct Shared {
    mood: Mutex<Mood>,
    mails: Mutex<Vec<Mail>>,
    /// Everything that came unencrypted.
    overheard: Mutex<String>,
    offers: Offers,
    tls: TlsAcceptor,
}

/// The server. It stops with this value.
pub(crate) struct MailServer {
    pub(crate) address: SocketAddr,
    /// Its certificate, in DER, which is its own authority.
    pub(crate) certificate: Vec<u8>,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl MailServer {
    pub(crate) async fn start(offers: Offers) -> MailServer {
        let issued = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let certificate = issued.cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(issued.signing_key.serialize_der()));
        let tls = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        let shared = Arc::new(Shared {
            mood: Mutex::default(),
            mails: Mutex::default(),
            overheard: Mutex::default(),
            offers,
            tls: TlsAcceptor::from(Arc::new(tls)),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(accept(listener, shared.clone()));
        MailServer { address, certificate: certificate.to_vec(), shared, serving }
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    /// The mails that it has taken since this was asked last.
    pub(crate) fn take(&self) -> Vec<Mail> {
        std::mem::take(&mut *self.shared.mails.lock().unwrap())
    }

    /// Everything that came unencrypted.
    pub(crate) fn overheard(&self) -> String {
        self.shared.overheard.lock().unwrap().clone()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let shared = shared.clone();
        // A client that goes away in the middle is its own affair.
        tokio::spawn(async move {
            if shared.offers == Offers::Tls {
                let stream = shared.tls.accept(stream).await?;
                return converse(stream, &shared, true, true).await.map(drop);
            }
            if let Some(stream) = converse(stream, &shared, false, true).await? {
                let stream: TcpStream = stream;
                let stream = shared.tls.accept(stream).await?;
                converse(stream, &shared, true, false).await?;
            }
            std::io::Result::Ok(())
        });
    }
}

/// Speaks until the client quits; returns the stream where it wants TLS now.
async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    shared: &Shared,
    is_encrypted: bool,
    greets: bool,
) -> std::io::Result<Option<S>> {
    let mood = *shared.mood.lock().unwrap();
    let mut stream = BufReader::new(stream);
    match mood {
        Mood::Silent => std::future::pending().await,
        Mood::Full => {
            stream.write_all(b"421 4.3.2 too many connections\r\n").await?;
            return Ok(None);
        }
        _ if greets => stream.write_all(b"220 localhost ESMTP\r\n").await?,
        _ => {}
    }
    let (mut from, mut to, mut login) = (String::new(), Vec::new(), None);
    let mut recipients = 0;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        if !is_encrypted {
            shared.overheard.lock().unwrap().push_str(&line);
        }
        let line = line.trim_end().to_owned();
        let upper = line.to_ascii_uppercase();
        let reply: &str = if upper.starts_with("EHLO") {
            match (shared.offers, is_encrypted) {
                (Offers::StartTls, false) => "250-localhost\r\n250-STARTTLS\r\n250 8BITMIME\r\n",
                _ => "250-localhost\r\n250-AUTH PLAIN\r\n250 8BITMIME\r\n",
            }
        } else if upper == "STARTTLS" {
            stream.write_all(b"220 2.0.0 go ahead\r\n").await?;
            return Ok(Some(stream.into_inner()));
        } else if let Some(encoded) = line.strip_prefix("AUTH PLAIN ") {
            let plain = String::from_utf8(STANDARD.decode(encoded).unwrap()).unwrap();
            if plain == format!("\0{USER}\0{PASSWORD}") {
                login = Some(USER.to_owned());
                "235 2.7.0 welcome\r\n"
            } else {
                "535 5.7.8 authentication failed\r\n"
            }
        } else if upper.starts_with("MAIL FROM:") {
            from = line[10..].split('>').next().unwrap().trim_start_matches('<').to_owned();
            "250 2.1.0 ok\r\n"
        } else if upper.starts_with("RCPT TO:") {
            recipients += 1;
            match mood {
                Mood::RefusesRecipients => "550 5.1.1 no such mailbox\r\n",
                Mood::RefusesTheLast if recipients == 2 => "550 5.1.1 no such mailbox\r\n",
                Mood::Greylists => "451 4.7.1 greylisted, come back in five minutes\r\n",
                _ => {
                    to.push(line[8..].trim_matches(['<', '>']).to_owned());
                    "250 2.1.5 ok\r\n"
                }
            }
        } else if upper == "DATA" {
            stream.write_all(b"354 go ahead\r\n").await?;
            if mood == Mood::HangsUp {
                return Ok(None);
            }
            let mut text = String::new();
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).await?;
                if line == ".\r\n" {
                    break;
                }
                text.push_str(&line);
            }
            if mood == Mood::RefusesTheMail {
                "554 5.7.1 it looks like spam\r\n"
            } else {
                let mail =
                    Mail { from: from.clone(), to: to.clone(), text, is_encrypted, login: login.clone() };
                shared.mails.lock().unwrap().push(mail);
                "250 2.0.0 Ok: queued as 4bXyZ\r\n"
            }
        } else if upper == "QUIT" {
            stream.write_all(b"221 2.0.0 bye\r\n").await?;
            return Ok(None);
        } else {
            "250 2.0.0 ok\r\n"
        };
        stream.write_all(reply.as_bytes()).await?;
    }
}
