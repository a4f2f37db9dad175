//! Mails by SMTP, against a server that speaks it.

use std::time::Duration;

use console_gate::outbound::smtp::{Smtp, SmtpOptions, SmtpSecurity};
use grants::alerts::{Channel as _, ChannelError, Message};

use crate::mail_server::{Mail, MailServer, Mood, Offers, PASSWORD, USER};
use crate::scene::PATIENCE;

const MESSAGE: Message<'_> = Message {
    key: "one",
    subject: "Glass\r\nBcc: eve@evil.example",
    text: "für eine Stunde\n.\nweiter",
    to: None,
};

fn options(server: &MailServer, security: SmtpSecurity) -> SmtpOptions {
    SmtpOptions {
        host: "localhost".into(),
        port: server.address.port(),
        security,
        login: None,
        from: "Gate <gate@raxx.app>".parse().unwrap(),
        to: vec!["ops@raxx.app".parse().unwrap(), "anna@raxx.app".parse().unwrap()],
        timeout: PATIENCE,
        roots: vec![server.certificate.clone()],
    }
}

async fn send(options: SmtpOptions) -> Result<String, ChannelError> {
    Smtp::new(options).unwrap().send(MESSAGE).await
}

fn only(mails: Vec<Mail>) -> Mail {
    assert_eq!(mails.len(), 1, "{mails:?}");
    mails.into_iter().next().unwrap()
}

#[tokio::test]
async fn a_mail_is_handed_over_under_tls_with_a_login() {
    for (offers, security) in [(Offers::StartTls, SmtpSecurity::StartTls), (Offers::Tls, SmtpSecurity::Tls)] {
        let server = MailServer::start(offers).await;
        let login = Some((USER.to_owned(), PASSWORD.to_owned().into()));
        let reference = send(SmtpOptions { login, ..options(&server, security) }).await.unwrap();
        assert!(reference.contains("queued as 4bXyZ"), "{reference}");
        let mail = only(server.take());
        assert!(mail.is_encrypted, "{offers:?}");
        assert_eq!(mail.login.as_deref(), Some(USER));
        assert_eq!(mail.from, "gate@raxx.app");
        assert_eq!(mail.to, ["ops@raxx.app", "anna@raxx.app"]);
        assert!(!server.overheard().contains("MAIL") && !server.overheard().contains("AUTH"), "{offers:?}");
    }
}

#[tokio::test]
async fn a_mail_says_what_it_is_and_is_the_same_for_the_same_alert() {
    let server = MailServer::start(Offers::Nothing).await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        send(options(&server, SmtpSecurity::Plain)).await.unwrap();
        let text = only(server.take()).text;
        assert!(text.contains("Auto-Submitted: auto-generated\r\n"), "{text}");
        assert!(!text.contains("\r\nBcc:"), "a header was smuggled in: {text}");
        let id = text.lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned();
        assert!(id.ends_with("@raxx.app>"), "{id}");
        ids.push(id);
    }
    assert_eq!(ids[0], ids[1]);
    // To one admin, and not to the people on call.
    let smtp = Smtp::new(options(&server, SmtpSecurity::Plain)).unwrap();
    smtp.send(Message { to: Some("ben@raxx.app"), ..MESSAGE }).await.unwrap();
    assert_eq!(only(server.take()).to, ["ben@raxx.app"]);
    let error = smtp.send(Message { to: Some("ben"), ..MESSAGE }).await.unwrap_err();
    assert_eq!(error.word(), "refused", "{error}");
}

#[tokio::test]
async fn nothing_is_said_to_a_server_without_tls() {
    let server = MailServer::start(Offers::Nothing).await;
    let login = || Some((USER.to_owned(), PASSWORD.to_owned().into()));
    let error =
        send(SmtpOptions { login: login(), ..options(&server, SmtpSecurity::StartTls) }).await.unwrap_err();
    assert_eq!(error.word(), "refused", "{error}");
    assert!(!server.overheard().contains("AUTH") && !server.overheard().contains("MAIL"));
    // Nor to one whose certificate nobody vouches for, or that is another's.
    let server = MailServer::start(Offers::StartTls).await;
    let unknown =
        SmtpOptions { roots: Vec::new(), login: login(), ..options(&server, SmtpSecurity::StartTls) };
    assert!(send(unknown).await.is_err());
    let other =
        SmtpOptions { host: "127.0.0.1".into(), login: login(), ..options(&server, SmtpSecurity::StartTls) };
    assert!(send(other).await.is_err());
    assert!(server.take().is_empty() && !server.overheard().contains("AUTH"));
}

#[tokio::test]
async fn a_refusal_is_no_acceptance() {
    let server = MailServer::start(Offers::Nothing).await;
    let table = [
        (Mood::RefusesRecipients, "refused", "no such mailbox"),
        (Mood::RefusesTheLast, "refused", "no such mailbox"),
        (Mood::Greylists, "deferred", "greylisted"),
        (Mood::RefusesTheMail, "refused", "spam"),
        (Mood::HangsUp, "unreachable", ""),
        (Mood::Full, "deferred", "too many connections"),
    ];
    for (mood, word, text) in table {
        server.is(mood);
        let error = send(options(&server, SmtpSecurity::Plain)).await.unwrap_err();
        assert_eq!(error.word(), word, "{mood:?}: {error}");
        assert!(error.to_string().contains(text), "{mood:?}: {error}");
        assert!(server.take().is_empty(), "{mood:?}");
    }
    server.is(Mood::Honest);
    let login = Some((USER.to_owned(), "wrong-hunter2".to_owned().into()));
    let error = send(SmtpOptions { login, ..options(&server, SmtpSecurity::Plain) }).await.unwrap_err();
    assert!(error.to_string().contains("authentication failed"), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[tokio::test]
async fn a_silent_server_has_not_accepted() {
    let server = MailServer::start(Offers::Nothing).await;
    server.is(Mood::Silent);
    let timeout = Duration::from_millis(200);
    let error = send(SmtpOptions { timeout, ..options(&server, SmtpSecurity::Plain) }).await.unwrap_err();
    assert_eq!(error.word(), "late", "{error}");
}
