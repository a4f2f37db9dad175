//! Alerts by mail through an SMTP server (RFC 5321), over TLS or after STARTTLS.

use std::fmt;
use std::time::Duration;

use grants::alerts::{Channel, ChannelError, Message};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::{AsyncSmtpTransport, Error};
use lettre::{AsyncTransport as _, Tokio1Executor};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::one_line;

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpSecurity {
    /// TLS after STARTTLS; nothing is sent to a server that does not offer it.
    StartTls,
    /// TLS from the first byte.
    Tls,
    /// None. For a server on the same machine.
    Plain,
}

/// The settings.
pub struct SmtpOptions {
    pub host: String,
    pub port: u16,
    pub security: SmtpSecurity,
    /// Name and password; without them there is no login.
    pub login: Option<(String, Zeroizing<String>)>,
    pub from: Mailbox,
    /// The people on call.
    pub to: Vec<Mailbox>,
    /// For a whole mail.
    pub timeout: Duration,
    /// Certificate authorities, in DER, in addition to the machine's.
    pub roots: Vec<Vec<u8>>,
}

/// Sends mails through a server.
pub struct Smtp {
    transport: AsyncSmtpTransport<Tokio1Executor>,
    host: String,
    from: Mailbox,
    to: Vec<Mailbox>,
    timeout: Duration,
}

impl Smtp {
    /// Sends according to `options`.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up.
    pub fn new(options: SmtpOptions) -> Result<Smtp, Error> {
        let SmtpOptions { host, port, security, login, from, to, timeout, roots } = options;
        let tls = || {
            let mut builder = TlsParameters::builder(host.clone());
            for root in roots {
                builder = builder.add_root_certificate(Certificate::from_der(root)?);
            }
            builder.build()
        };
        let tls = match security {
            SmtpSecurity::StartTls => Tls::Required(tls()?),
            SmtpSecurity::Tls => Tls::Wrapper(tls()?),
            SmtpSecurity::Plain => Tls::None,
        };
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&host)
            .port(port)
            .tls(tls)
            .timeout(Some(timeout));
        if let Some((name, password)) = login {
            builder = builder.credentials(Credentials::new(name, password.as_str().to_owned()));
        }
        Ok(Smtp { transport: builder.build(), host, from, to, timeout })
    }
}

#[async_trait::async_trait]
impl Channel for Smtp {
    fn name(&self) -> &'static str {
        "smtp"
    }

    fn reaches_admins(&self) -> bool {
        true
    }

    async fn send(&self, message: Message<'_>) -> Result<String, ChannelError> {
        let mut mail: MessageBuilder = lettre::Message::builder()
            .from(self.from.clone())
            .message_id(Some(message_id(message.key, self.from.email.domain())))
            .header(ContentType::TEXT_PLAIN)
            .raw_header(HeaderValue::new(
                // RFC 3834: prevents automatic replies, such as out-of-office notices.
                HeaderName::new_from_ascii_str("Auto-Submitted"),
                "auto-generated".to_owned(),
            ))
            .subject(one_line(message.subject));
        let to = match message.to {
            None => self.to.clone(),
            Some(address) => {
                let address = address.parse().map_err(|_| {
                    ChannelError::Refused("the address of the admin cannot be used in a mail".to_owned())
                })?;
                vec![Mailbox::new(None, address)]
            }
        };
        for mailbox in to {
            mail = mail.to(mailbox);
        }
        let mail = mail
            .body(message.text.to_owned())
            .map_err(|error| ChannelError::Refused(format!("the mail cannot be put together: {error}")))?;
        // The library limits only the time to connect.
        let sending = tokio::time::timeout(self.timeout, self.transport.send(mail)).await;
        let response =
            sending.map_err(|_| ChannelError::Late(self.timeout))?.map_err(|error| refused(&error))?;
        let said = response.first_line().unwrap_or("accepted");
        Ok(said.chars().filter(|c| !c.is_control()).take(100).collect())
    }
}

/// The same id for the same alert: a mail that is sent again is shown once.
fn message_id(key: &str, domain: &str) -> String {
    let digest = policy::hex::lower(&Sha256::digest(key.as_bytes())[..16]);
    format!("<{digest}@{domain}>")
}

/// The server's reply to a refused mail is passed on: it names the mailbox or the rule, and no secret.
fn refused(error: &Error) -> ChannelError {
    let said = error.to_string();
    let said: String = said.chars().filter(|c| !c.is_control()).take(300).collect();
    if error.is_transient() {
        ChannelError::Deferred(said)
    } else if error.is_permanent() || error.is_client() {
        // Also for a server that does not offer STARTTLS, or no known login method.
        ChannelError::Refused(said)
    } else {
        ChannelError::Unreachable(said)
    }
}

impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Smtp").field("host", &self.host).finish_non_exhaustive()
    }
}
