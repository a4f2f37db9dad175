//! The channels of `[alerts]`, from the settings and their secrets.

use std::sync::Arc;

use anyhow::Context as _;
use clock::SharedClock;
use grants::alerts::{Alerts, Channel};
use store::SharedStore;

use crate::outbound::postmark::{self, Postmark, PostmarkOptions};
use crate::outbound::slack::{self, Slack};
use crate::outbound::smtp::{Smtp, SmtpOptions, SmtpSecurity};
use crate::outbound::{Outbound, Url};
use crate::settings::alerts::{MailSecurity, is_protected};
use crate::settings::secrets::{AlertSecrets, Secret};
use crate::settings::{self, Settings};

/// The ways to the people on call that the settings name.
///
/// # Errors
///
/// A secret or an address cannot be used.
pub fn alerts(
    settings: &Settings,
    secrets: &AlertSecrets,
    store: SharedStore,
    clock: SharedClock,
) -> anyhow::Result<Alerts> {
    let wanted = &settings.alerts;
    let deadline = wanted.deadline_ms.duration();
    let mut channels: Vec<Arc<dyn Channel>> = Vec::new();
    if let Some(secret) = secrets.slack.as_ref().filter(|_| wanted.slack.is_some()) {
        let webhook = text(secret).context("[alerts.slack] the webhook")?;
        // Its address is not repeated: it is the secret.
        anyhow::ensure!(
            is_protected(&webhook),
            "[alerts.slack] the webhook is not an address that begins with `https://`"
        );
        let url = Url::parse(&webhook).ok().context("[alerts.slack] the webhook is not an address")?;
        let outbound =
            Outbound::new(Vec::new(), deadline, slack::MOST_ANSWER_BYTES).context("[alerts.slack]")?;
        channels.push(Arc::new(Slack::new(outbound, url)));
    }
    if let Some(smtp) = &wanted.smtp {
        channels.push(Arc::new(mail(smtp, secrets.smtp.as_ref(), deadline).context("[alerts.smtp]")?));
    }
    if let (Some(postmark), Some(token)) = (&wanted.postmark, &secrets.postmark) {
        let options = PostmarkOptions {
            url: Url::parse(&postmark.url)?,
            token: text(token).context("[alerts.postmark] the token")?.into(),
            from: postmark.from.clone(),
            to: postmark.to.clone(),
            message_stream: postmark.message_stream.clone(),
        };
        let outbound =
            Outbound::new(Vec::new(), deadline, postmark::MOST_ANSWER_BYTES).context("[alerts.postmark]")?;
        channels.push(Arc::new(Postmark::new(outbound, options)));
    }
    Ok(Alerts::new(store, clock, channels, deadline))
}

fn mail(
    smtp: &settings::alerts::Smtp,
    password: Option<&Secret>,
    timeout: std::time::Duration,
) -> anyhow::Result<Smtp> {
    let login = match (&smtp.username, password) {
        (Some(name), Some(password)) => Some((name.clone(), text(password).context("the password")?.into())),
        _ => None,
    };
    let (security, usual) = match smtp.security {
        MailSecurity::StartTls => (SmtpSecurity::StartTls, 587),
        MailSecurity::Tls => (SmtpSecurity::Tls, 465),
        MailSecurity::Plain => (SmtpSecurity::Plain, 25),
    };
    let options = SmtpOptions {
        host: smtp.host.clone(),
        port: smtp.port.unwrap_or(usual),
        security,
        login,
        from: smtp.from.parse().context("`from`")?,
        to: smtp.to.iter().map(|to| to.parse()).collect::<Result<_, _>>().context("`to`")?,
        timeout,
        roots: Vec::new(),
    };
    Ok(Smtp::new(options)?)
}

fn text(secret: &Secret) -> anyhow::Result<String> {
    String::from_utf8(secret.expose().to_vec()).ok().context("it is no text")
}
