//! Reading `gate.toml`, with every mistake reported at once.

use std::ops::Range;
use std::path::{Path, PathBuf};

use policy::diagnostic::{Diagnostic, Diagnostics, Syntax, closest};
use serde::de::DeserializeOwned;
use store::console::Relations;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::console::{Console, Written};
use super::wording::worded;
use super::{SessionKind, Settings, Upstream};

const SECTIONS: [&str; 31] = [
    "environment",
    "environments",
    "listen",
    "tls",
    "upstream",
    "upstreams",
    "buffers",
    "database",
    "console",
    "mapping",
    "session",
    "identity",
    "access",
    "firewall",
    "audit",
    "assertion",
    "forwarded",
    "ingest",
    "api",
    "rbac_api",
    "admin",
    "log",
    "otlp",
    "retention",
    "decisions",
    "probe",
    "break_glass",
    "freescout",
    "alerts",
    "reviews",
    "pages",
];

/// The settings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error("cannot read {path}: {error}")]
    Unreadable { path: String, error: std::io::Error },
    #[error(transparent)]
    Unsound(#[from] Diagnostics),
}

/// A file of settings that was looked at.
#[derive(Debug)]
pub struct Looked {
    pub name: String,
    /// The text, without possible passwords.
    pub source: String,
    pub mistakes: Vec<Diagnostic>,
    /// The bytes where each key is written, by its name with the tables that it is in.
    pub places: Vec<(String, Range<usize>)>,
    /// The mapping file that it names, relative to it: known even where the rest cannot be used.
    pub mapping: Option<PathBuf>,
}

impl Looked {
    fn new(name: String, source: &str, mistakes: Option<Diagnostics>) -> Looked {
        let mistakes = mistakes.map(|mistakes| mistakes.findings().to_vec()).unwrap_or_default();
        let mut places = Vec::new();
        let (document, _) = DeTable::parse_recoverable(source);
        collect(document.get_ref(), "", &mut |key, place| places.push((key, place)));
        let section = document.get_ref().get("mapping").and_then(|section| section.get_ref().as_table());
        let file = section.and_then(|section| section.get("file")?.get_ref().as_str());
        let folder = Path::new(&name).parent().unwrap_or(Path::new(""));
        let mapping = file.map(|file| folder.join(file));
        Looked { name, source: without_passwords(source), mistakes, places, mapping }
    }
}

/// Each key of a document, with the tables that it is in, and where it is.
fn collect(table: &DeTable<'_>, within: &str, found: &mut impl FnMut(String, Range<usize>)) {
    for (key, value) in table.iter() {
        let name = key.get_ref();
        let whole = if within.is_empty() { name.to_string() } else { format!("{within}.{name}") };
        match value.get_ref() {
            DeValue::Table(inner) => collect(inner, &whole, found),
            _ => found(whole, key.span()),
        }
    }
}

impl Settings {
    /// Reads and parses a settings file. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or holds mistakes: all of them, with their places.
    pub fn read(path: &Path) -> Result<Settings, SettingsError> {
        let name = path.display().to_string();
        let source = crate::text_file::read(path)
            .map_err(|error| SettingsError::Unreadable { path: name.clone(), error })?;
        let mut settings = Settings::parse(&name, &source)?;
        if let Some(file) = settings.console.1.take() {
            let file = path.parent().map_or_else(|| file.clone(), |folder| folder.join(&file));
            settings.console = Console::read(&file)?;
        }
        if let Some(folder) = path.parent() {
            settings.resolve_paths(folder);
        }
        Ok(settings)
    }

    /// Looks at a settings file and the file that it names for `[console]`.
    ///
    /// # Errors
    ///
    /// One of them cannot be read.
    pub fn look(path: &Path) -> Result<Vec<Looked>, SettingsError> {
        let read = |path: &Path| {
            let name = path.display().to_string();
            let source = crate::text_file::read(path)
                .map_err(|error| SettingsError::Unreadable { path: name.clone(), error })?;
            Ok::<_, SettingsError>((name, source))
        };
        let (name, source) = read(path)?;
        let outcome = Settings::parse(&name, &source);
        // Where the rest is broken, this key may be sound all the same.
        let console = match &outcome {
            Ok(settings) => settings.console.1.clone(),
            Err(_) => None,
        };
        let mut looked = vec![Looked::new(name, &source, outcome.err())];
        if let Some(file) = console {
            let file = path.parent().map_or_else(|| file.clone(), |folder| folder.join(&file));
            let (name, source) = read(&file)?;
            let mistakes = Console::parse(&name, &source).err();
            looked.push(Looked::new(name, &source, mistakes));
        }
        Ok(looked)
    }

    /// Parses the text of a settings file.
    ///
    /// # Errors
    ///
    /// Every mistake at once.
    pub fn parse(path: &str, source: &str) -> Result<Settings, Diagnostics> {
        let mut reader = Reader::new(source);
        let settings = reader.settings();
        reader.findings = reader.broken.take().map_or(reader.findings, |cause| vec![cause]);
        if reader.findings.is_empty() {
            Ok(settings)
        } else {
            for finding in &mut reader.findings {
                finding.message = without_passwords(&finding.message);
                finding.suggestion = finding.suggestion.take().map(|text| without_passwords(&text));
            }
            Err(Diagnostics::new(path, &without_passwords(source), reader.findings))
        }
    }

    fn resolve_paths(&mut self, folder: &Path) {
        self.mapping.file = folder.join(&self.mapping.file);
        self.audit.spool_folder = folder.join(&self.audit.spool_folder);
        self.buffers.folder = folder.join(&self.buffers.folder);
        let files = [
            &mut self.session.secret_key_file,
            &mut self.assertion.keys_file,
            &mut self.audit.keys_file,
            &mut self.probe.keys_file,
            &mut self.audit.checkpoint_file,
            &mut self.tls.certificate_file,
            &mut self.tls.key_file,
            &mut self.freescout.key_file,
            &mut self.freescout.webhook_secret_file,
            &mut self.otlp.headers_file,
            &mut self.listen.upgrade_socket,
        ];
        let of_upstreams =
            self.upstreams.values_mut().filter_map(|one| one.assertion.as_mut()?.keys_file.as_mut());
        for file in files.into_iter().flatten().chain(of_upstreams) {
            *file = folder.join(&*file);
        }
        let alerts = &mut self.alerts;
        let files = [
            alerts.slack.as_mut().and_then(|slack| slack.webhook_file.as_mut()),
            alerts.smtp.as_mut().and_then(|smtp| smtp.password_file.as_mut()),
            alerts.postmark.as_mut().and_then(|postmark| postmark.token_file.as_mut()),
        ];
        for file in files.into_iter().flatten() {
            *file = folder.join(&*file);
        }
        if let store::DatabaseUrl::Sqlite(file) = &mut self.database.url.0 {
            *file = folder.join(&*file);
        }
        let mirror = self.audit.mirror.as_mut().and_then(|mirror| mirror.url.as_mut());
        if let Some(store::DatabaseUrl::Sqlite(file)) = mirror.map(|url| &mut url.0) {
            *file = folder.join(&*file);
        }
    }
}

impl Console {
    /// Reads the file that has the keys of `[console]`.
    ///
    /// # Errors
    ///
    /// As of [`Settings::read`].
    fn read(path: &Path) -> Result<Console, SettingsError> {
        let name = path.display().to_string();
        let source = crate::text_file::read(path)
            .map_err(|error| SettingsError::Unreadable { path: name.clone(), error })?;
        // As a section of its own, on one line with its first key: so the lines of the findings are the file's.
        Console::parse(&name, &source).map_err(SettingsError::Unsound)
    }

    fn parse(name: &str, source: &str) -> Result<Console, Diagnostics> {
        let mut reader = Reader::new(source);
        let (document, errors) = DeTable::parse_recoverable(source);
        reader.syntax(&errors);
        let mut table = DeTable::new();
        let whole = DeValue::Table(document.into_inner());
        table.insert(Spanned::new(0..0, "console".into()), Spanned::new(0..source.len(), whole));
        let console = reader.console(&mut table);
        if console.1.is_some() {
            let message = "[console] `file` is for the settings, not for the file that it names";
            reader.findings.push(Diagnostic::new("bad-setting", 0..0, message));
        }
        reader.findings = reader.broken.take().map_or(reader.findings, |cause| vec![cause]);
        if reader.findings.is_empty() {
            Ok(console)
        } else {
            Err(Diagnostics::new(name, source, reader.findings))
        }
    }
}

/// The text with possible passwords starred out, byte for byte: the user part of every URL, and its query
/// (`?password=`). Findings quote lines of the file, and serde's messages quote values.
pub(crate) fn without_passwords(text: &str) -> String {
    let starred = |line: &str| {
        let Some(start) = line.find("://").map(|scheme| scheme + "://".len()) else { return line.to_owned() };
        let user_end = line.rfind('@').filter(|at| *at > start).unwrap_or(start);
        let query = line[start..].find('?').map_or(line.len(), |at| start + at);
        let hidden = |from: usize, to: usize| "*".repeat(to - from);
        if query <= user_end {
            return format!("{}{}", &line[..start], hidden(start, line.len()));
        }
        let shown = &line[user_end..query];
        format!("{}{}{shown}{}", &line[..start], hidden(start, user_end), hidden(query, line.len()))
    };
    text.split('\n').map(starred).collect::<Vec<_>>().join("\n")
}

struct Reader<'s> {
    source: &'s str,
    findings: Vec<Diagnostic>,
    /// The mistake in the syntax, beside which no finding counts.
    broken: Option<Diagnostic>,
}

impl Reader<'_> {
    fn new(source: &str) -> Reader<'_> {
        Reader { source, findings: Vec::new(), broken: None }
    }

    fn syntax(&mut self, errors: &[toml::de::Error]) {
        match Syntax::of(self.source, errors) {
            Syntax::Sound => {}
            Syntax::Repeats(repeats) => self.findings.extend(repeats),
            Syntax::Broken(cause) => self.broken = Some(cause),
        }
    }

    fn settings(&mut self) -> Settings {
        let (document, errors) = DeTable::parse_recoverable(self.source);
        self.syntax(&errors);
        let mut table = document.into_inner();
        for (key, _) in table.iter() {
            let name = key.get_ref().as_ref();
            if !SECTIONS.contains(&name) {
                let mut finding = Diagnostic::new(
                    "unknown-key",
                    key.span(),
                    format!("`{name}` is not a section of the settings"),
                );
                if let Some(near) = closest(name, SECTIONS) {
                    finding = finding.suggest(format!("did you mean `{near}`?"));
                }
                self.findings.push(finding);
            }
        }
        let settings = Settings {
            environment: self.section(&mut table, "environment"),
            environments: self.section(&mut table, "environments"),
            listen: self.section(&mut table, "listen"),
            tls: self.section(&mut table, "tls"),
            upstream: self.section(&mut table, "upstream"),
            upstreams: self.section(&mut table, "upstreams"),
            buffers: self.section(&mut table, "buffers"),
            database: self.section(&mut table, "database"),
            console: self.console(&mut table),
            mapping: self.section(&mut table, "mapping"),
            session: self.section(&mut table, "session"),
            identity: self.section(&mut table, "identity"),
            access: self.section(&mut table, "access"),
            firewall: self.section(&mut table, "firewall"),
            audit: self.section(&mut table, "audit"),
            assertion: self.section(&mut table, "assertion"),
            forwarded: self.section(&mut table, "forwarded"),
            ingest: self.section(&mut table, "ingest"),
            api: self.section(&mut table, "api"),
            rbac_api: self.section(&mut table, "rbac_api"),
            admin: self.section(&mut table, "admin"),
            log: self.section(&mut table, "log"),
            otlp: self.section(&mut table, "otlp"),
            retention: self.section(&mut table, "retention"),
            decisions: self.section(&mut table, "decisions"),
            probe: self.section(&mut table, "probe"),
            break_glass: self.section(&mut table, "break_glass"),
            freescout: self.section(&mut table, "freescout"),
            alerts: self.section(&mut table, "alerts"),
            reviews: self.section(&mut table, "reviews"),
            pages: self.section(&mut table, "pages"),
        };
        self.check_across(&settings);
        settings
    }

    /// Deserialises one section. serde stops at its first mistake, so the offending entry is noted, taken out, and the
    /// section is tried again until nothing offends.
    fn section<T: DeserializeOwned + Default>(&mut self, table: &mut DeTable<'_>, name: &str) -> T {
        let Some((_, mut value)) = table.remove_entry(name) else { return T::default() };
        loop {
            let attempt = T::deserialize(toml::de::ValueDeserializer::from(value.clone()));
            let error = match attempt {
                Ok(section) => return section,
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| value.span());
            let message = error.message().lines().next().unwrap_or("cannot be read").to_owned();
            let worded = worded(name, offender(&value, &span).as_deref(), &message);
            let finding = Diagnostic::new("bad-setting", span.clone(), worded.message);
            self.findings.push(match worded.suggestion {
                Some(suggestion) => finding.suggest(suggestion),
                None => finding,
            });
            if !remove_offender(&mut value, &span) {
                return T::default();
            }
        }
    }

    /// `[console]`: its keys, or the file that has them.
    fn console(&mut self, table: &mut DeTable<'_>) -> Console {
        let place = table.get_key_value("console").map_or(0..0, |(key, _)| key.span());
        let mut written: Written = self.section(table, "console");
        if let Some(file) = written.file.take() {
            if written != Written::default() {
                let message =
                    "[console] `file` names the file that has the other keys: write them there or here";
                self.findings.push(Diagnostic::new("bad-setting", place, message));
            }
            return Console(Relations::default(), Some(file));
        }
        let (relations, mistakes) = written.relations();
        for mistake in mistakes {
            let message = format!("[console] {mistake}");
            self.findings.push(Diagnostic::new("bad-setting", place.clone(), message));
        }
        Console(relations, None)
    }

    /// What no single section can know.
    fn check_across(&mut self, settings: &Settings) {
        let mut report = |section: &str, message: &str| {
            let place = self.source.find(&format!("[{section}]")).unwrap_or(0);
            let end = (place + section.len() + 2).min(self.source.len());
            self.findings.push(Diagnostic::new("bad-setting", place..end, format!("[{section}] {message}")));
        };
        for (name, upstream) in &settings.upstreams {
            for mistake in upstream_mistakes(name, upstream) {
                report("upstreams", &mistake);
            }
        }
        if settings.upstream.assertion.is_some() {
            report("upstream", "what Console learns of callers is in [assertion]");
        }
        if settings.upstream.servers.is_empty() {
            report("upstream", "`servers` is empty");
        }
        if !(1..=60).contains(&settings.assertion.lifetime_seconds) {
            report("assertion", "`lifetime_seconds` must be between 1 and 60");
        }
        if settings.firewall.body_rule_bytes.0 > super::MAX_BODY_RULE_BYTES {
            report("firewall", "`body_rule_bytes` must be at most 65536");
        }
        if settings.firewall.head_timeout_ms.0 == 0 || settings.firewall.idle_timeout_ms.0 == 0 {
            report("firewall", "`head_timeout_ms` and `idle_timeout_ms` must be greater than 0");
        }
        let admin = &settings.admin;
        if [admin.head_timeout_ms, admin.transfer_timeout_ms, admin.idle_timeout_ms]
            .contains(&super::Millis(0))
        {
            report("admin", "the times must be greater than 0");
        }
        for mistake in settings.otlp.mistakes() {
            report("otlp", &mistake);
        }
        if !super::SETTLE_MS.contains(&settings.mapping.settle_ms.0) {
            report("mapping", "`settle_ms` must be between 50 and 60000");
        }
        if !super::MAX_STALENESS_MS.contains(&settings.access.max_staleness_ms.0) {
            report("access", "`max_staleness_ms` must be between 200 and 10000");
        }
        if settings.tls.certificate_file.is_some() != settings.tls.key_file.is_some() {
            report("tls", "`certificate_file` and `key_file` must both be set");
        }
        if settings.tls.handshake_timeout_ms.0 == 0 {
            report("tls", "`handshake_timeout_ms` must be greater than 0");
        }
        if settings.tls.certificate_file.is_some() && settings.listen.h2c {
            report("tls", "`h2c` of [listen] is cleartext: over TLS, HTTP/2 is `http2` of this section");
        }
        if settings.database.timeout_ms.0 == 0 || settings.audit.timeout_ms.0 == 0 {
            report("database", "`timeout_ms` must be greater than 0, here and in [audit]");
        }
        for (section, key, days) in [
            ("retention", "drift_days", settings.retention.drift_days),
            ("decisions", "days", settings.decisions.days),
        ] {
            if days > super::MAX_DAYS {
                report(section, &format!("`{key}` must be at most {}", super::MAX_DAYS));
            }
        }
        for (key, time) in [
            ("connect_timeout_ms", settings.upstream.connect_timeout_ms),
            ("health_interval_ms", settings.upstream.health_interval_ms),
            ("resolve_interval_ms", settings.upstream.resolve_interval_ms),
        ] {
            if time.0 == 0 {
                report("upstream", &format!("`{key}` must be at least 1"));
            }
        }
        if settings.access.clock_settle_ms.0 < super::LEAST_CLOCK_SETTLE_MS {
            report("access", "`clock_settle_ms` must be at least 1000");
        }
        for (key, address) in [("proxy", &settings.listen.proxy), ("admin", &settings.listen.admin)] {
            // pingora separates the names of sockets that it hands over by spaces.
            if address.to_string().contains(char::is_whitespace) {
                report("listen", &format!("`{key}` must not contain white space"));
            }
        }
        if settings.listen.proxy == settings.listen.admin {
            report("listen", "`proxy` and `admin` must be different addresses");
        }
        let is_host = |host: &String| !host.is_empty() && http::HeaderValue::from_str(host).is_ok();
        if !settings.upstream.host.as_ref().is_none_or(is_host) {
            report("upstream", "`host` is not a valid Host");
        }
        for (section, key, value) in [
            ("assertion", "audience", &settings.assertion.audience),
            ("session", "cookie_name", &settings.session.cookie_name),
            ("session", "admin_id_key", &settings.session.admin_id_key),
        ] {
            if value.is_empty() {
                report(section, &format!("`{key}` is empty"));
            }
        }
        for (section, key, path) in [
            ("session", "login_path", &settings.session.login_path),
            ("upstream", "health_path", &settings.upstream.health_path),
        ] {
            if !path.starts_with('/') || path.starts_with("//") {
                report(section, &format!("`{key}` must be a path that begins with one `/`, not `{path}`"));
            }
        }
        match (settings.session.kind, &settings.identity) {
            (SessionKind::Gate, None) => report("session", "`kind = \"gate\"` needs the section [identity]"),
            (SessionKind::Flask | SessionKind::Opaque | SessionKind::Signed, Some(_)) => {
                report("identity", "the gate's own login needs `kind = \"gate\"` in [session]");
            }
            (SessionKind::Gate, Some(_)) | (_, None) => {}
        }
        for mistake in settings.identity.iter().flat_map(|one| one.mistakes(&settings.break_glass)) {
            report("identity", &mistake);
        }
        for mistake in settings.session.mistakes() {
            report("session", &mistake);
        }
        let is_base = |url: &String| {
            let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
            rest.is_some_and(|rest| !rest.is_empty() && !rest.ends_with('/') && !rest.contains(['?', '#']))
        };
        if !settings.api.public_url.as_ref().is_none_or(is_base) {
            report("api", "`public_url` must begin with `https://` or `http://`, without a `/` at its end");
        }
        if settings.api.access_requests && settings.api.public_url.is_none() {
            report("api", "`access_requests` needs `public_url`: callers are sent to addresses under it");
        }
        for (name, kind) in &settings.api.subjects {
            if !["admin", "machine"].contains(&kind.as_str()) || ["admin", "machine"].contains(&name.as_str())
            {
                report("api", &format!("`subjects.{name}` must be `admin` or `machine`, by another name"));
            }
        }
        for (name, resource) in &settings.api.resources {
            let is_new = !["route", "role", "permission"].contains(&name.as_str());
            if !is_new || !resource.path.starts_with('/') || resource.path.matches("{id}").count() != 1 {
                report(
                    "api",
                    &format!("`resources.{name}` needs a `path` with one `{{id}}`, and a name of its own"),
                );
            }
            let is_method = |method: &String| policy::method::Method::parse(method).is_some();
            if resource.actions.is_empty() || !resource.actions.values().all(is_method) {
                report("api", &format!("`resources.{name}.actions` must name methods: `read = \"GET\"`"));
            }
        }
        let rbac_api = &settings.rbac_api;
        if rbac_api.idempotency_hours.0 > super::MOST_IDEMPOTENCY_HOURS {
            report("rbac_api", "`idempotency_hours` must be at most 168");
        }
        for (key, name) in rbac_api.permissions() {
            if name.as_ref().is_some_and(|name| name.trim() != name || name.is_empty()) {
                report("rbac_api", &format!("`{key}` must be the name of a permission"));
            }
        }
        let decision_ms = settings.database.timeout_ms.0.max(settings.audit.timeout_ms.0);
        if let Err(mistake) = settings.break_glass.passkeys() {
            report("break_glass", &mistake);
        }
        for mistake in settings.freescout.mistakes(decision_ms) {
            report("freescout", &mistake);
        }
        for mistake in settings.alerts.mistakes() {
            report("alerts", &mistake);
        }
        for mistake in settings.reviews.mistakes() {
            report("reviews", &mistake);
        }
        for mistake in settings.pages.mistakes() {
            report("pages", &mistake);
        }
        let words = &settings.environments.production;
        if words.is_empty() || words.iter().any(|word| word.trim() != word || word.is_empty()) {
            report(
                "environments",
                "`production` must name at least one word, without spaces around it: V2 would never be enforced in production",
            );
        }
        for host in &settings.firewall.allowed_hosts {
            let name = host.rsplit_once("://").map_or(host.as_str(), |(_, rest)| rest);
            let name = name.split('/').next().unwrap_or_default();
            if name != host {
                let message = format!(
                    "`allowed_hosts` has `{host}`, which no Host field is: write `{name}`, as it is in an address"
                );
                report("firewall", &message);
            }
        }
        let callers = [
            ("api", "callers", &settings.api.callers),
            ("api", "drift_reporters", &settings.api.drift_reporters),
            ("ingest", "sources", &settings.ingest.sources),
        ];
        for (section, key, names) in callers {
            if names.iter().any(|name| name.trim() != name || name.is_empty()) {
                report(
                    section,
                    &format!("`{key}` must be names of machine tokens, without spaces around them"),
                );
            }
        }
        if settings.lacks_hosts() {
            report("firewall", super::HOSTS_ARE_NEEDED);
        }
    }
}

/// The mistakes in the section of a server beside Console.
fn upstream_mistakes(name: &str, upstream: &Upstream) -> Vec<String> {
    let mut mistakes = Vec::new();
    let mut report = |message: &str| mistakes.push(format!("`{name}`: {message}"));
    let is_word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_word) {
        report("names have lower-case letters, digits and `-`");
    }
    if upstream.servers.is_empty() {
        report("`servers` is empty");
    }
    let times = [upstream.connect_timeout_ms, upstream.health_interval_ms, upstream.resolve_interval_ms];
    if times.contains(&super::Millis(0)) {
        report("`connect_timeout_ms`, `health_interval_ms` and `resolve_interval_ms` must be at least 1");
    }
    let is_host = |host: &String| !host.is_empty() && http::HeaderValue::from_str(host).is_ok();
    if !upstream.host.as_ref().is_none_or(is_host) {
        report("`host` is not a valid Host");
    }
    if !upstream.health_path.starts_with('/') || upstream.health_path.starts_with("//") {
        report("`health_path` must begin with one `/`");
    }
    if upstream.own_refusals != [""; 0] {
        report("`own_refusals` of every server are in [upstream]");
    }
    let audience = upstream.assertion.as_ref().and_then(|assertion| assertion.audience.as_deref());
    if audience == Some("") {
        report("`audience` is empty");
    }
    mistakes
}

/// The key of the entry of a table that `span` points into.
fn offender(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> Option<String> {
    let DeValue::Table(table) = value.get_ref() else { return None };
    let offender = table.iter().find(|(key, entry)| {
        let whole = key.span().start..entry.span().end;
        whole.start <= span.start && span.end <= whole.end
    });
    offender.map(|(key, _)| key.get_ref().to_string())
}

/// Takes that entry out of the table.
fn remove_offender(value: &mut Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    let Some(key) = offender(value, span) else { return false };
    let DeValue::Table(table) = value.get_mut() else { return false };
    table.remove(key.as_str()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_the_defaults() {
        let settings = Settings::parse("gate.toml", "").unwrap();
        assert_eq!(settings.listen.proxy.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.firewall.header_count.0, 94);
    }

    #[test]
    fn the_sample_that_ships_is_sound_and_says_the_defaults() {
        let sample = include_str!("../../deploy/gate.toml");
        let settings = Settings::parse("deploy/gate.toml", sample).unwrap();
        let mut defaults = Settings::default();
        // The number of threads is the machine's, and the sample leaves it to it.
        defaults.listen.threads = settings.listen.threads;
        assert_eq!(format!("{settings:#?}"), format!("{defaults:#?}"));
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_place() {
        let source = "environment = \"prod\"\n[listen]\nproxi = \"x\"\nadmin = \"nowhere\"\n[database]\n\
                      url = \"mysql://h/db\"\nmax_connections = 0\n[sesion]\n[upstream]\nservers = []\n";
        let diagnostics = Settings::parse("gate.toml", source).unwrap_err();
        let expected = "\
gate.toml:1:15: [environment] `prod` is no value for this [bad-setting]
gate.toml:3:1: [listen] `proxi` is not a key here [bad-setting]
gate.toml:4:9: [listen] `nowhere` has no port: write `nowhere:PORT` [bad-setting]
gate.toml:6:7: [database] a database URL begins with `sqlite:` or `postgres://` [bad-setting]
gate.toml:7:19: [database] `max_connections` must be at least 1 [bad-setting]
gate.toml:8:2: `sesion` is not a section of the settings [unknown-key]
gate.toml:9:1: [upstream] `servers` is empty [bad-setting]";
        assert_eq!(diagnostics.one_line_each(), expected);
        assert!(diagnostics.to_string().contains("did you mean `proxy`?"));
    }

    #[test]
    fn what_could_never_work_is_refused_at_the_start() {
        let table = [
            ("[break_glass]\norigin = \"https://h/path\"", "`origin` must be the origin"),
            ("[break_glass]\norigin = \"https://h.org\"\nrp_id = \"g.org\"", "`rp_id` must be the host"),
            ("[break_glass]\nrp_id = \"h.org\"", "`rp_id` needs `origin`"),
            ("[freescout]\nmailboxes = [3]", "`url` is missing"),
            ("[freescout]\nurl = \"https://h\"", "`mailboxes` must name the mailboxes"),
            ("[freescout]\nurl = \"help\"\nmailboxes = [3]", "`url` must begin with"),
            ("[freescout]\nurl = \"https://u:p@h\"\nmailboxes = [3]", "`url` must begin with"),
            ("[freescout]\nurl = \"https://h\"\nmailboxes = [0]", "`mailboxes` must name the mailboxes"),
            (
                "[freescout]\nurl = \"https://h\"\nmailboxes = [3]\ndeadline_ms = 2001",
                "`deadline_ms` must be from 1 to 2000",
            ),
            (
                "[freescout]\nurl = \"https://h\"\nmailboxes = [3]\npoll_seconds = 9",
                "`poll_seconds` must be from 10",
            ),
            (
                "[pages]\nhome_path = \"//evil.example\"",
                "`home_path` must be a path that begins with one `/`",
            ),
            ("[pages]\nlogout_path = \"/\\\\evil\"", "`logout_path` must be a path that begins with one `/`"),
            ("[reviews]\ndue_days = 0", "`due_days` must be from 1 to 365"),
            ("[reviews]\nperiod_days = 13", "`period_days` must be from `due_days` to 3650"),
            ("[reviews]\ngroups = { x = \"drop\" }", "`drop` is no value"),
            ("[alerts]\ndeadline_ms = 0", "`deadline_ms` must be from 100 to 30000"),
            ("[alerts]\nkeep_days = 0", "`keep_days` must be from 8"),
            ("[alerts]\ncanary_minutes = 10081", "`canary_minutes` must be at most 10080"),
            ("[alerts.smtp]\nfrom = \"a@b.example\"\nto = [\"c@b.example\"]", "smtp: `host` must be"),
            (
                "[alerts.smtp]\nhost = \"mail.example\"\nsecurity = \"plain\"\nfrom = \"a@b.example\"\nto = [\"c@b.example\"]",
                "smtp: `security = \"plain\"` is for a server on the same machine",
            ),
            (
                "[alerts.smtp]\nhost = \"h\"\nfrom = \"no-address\"\nto = [\"c@b.example\"]",
                "smtp: `from` must be",
            ),
            ("[alerts.postmark]\nfrom = \"a@b.example\"", "postmark: `to` must name"),
            (
                "[alerts.postmark]\nurl = \"http://api.postmarkapp.com\"\nfrom = \"a@b.example\"\nto = [\"c@b.example\"]",
                "postmark: `url` must begin with `https://`",
            ),
            ("[upstreams.Raptor]\nservers = [\"h:1\"]", "`Raptor`: names have lower-case letters"),
            ("[upstreams.raptor]\nservers = []", "`raptor`: `servers` is empty"),
            ("[upstreams.raptor]\nhost = \"\"", "`raptor`: `host` is not a valid Host"),
            ("[upstreams.raptor]\nhealth_path = \"x\"", "`raptor`: `health_path` must begin with one `/`"),
            ("[upstreams.raptor]\nown_refusals = [\"GET /x\"]", "are in [upstream]"),
            ("[upstreams.raptor.assertion]\naudience = \"\"", "`raptor`: `audience` is empty"),
            ("[upstreams.raptor]\nserver = \"h:1\"", "`server` is not a key here"),
            ("[upstream.assertion]\naudience = \"x\"", "what Console learns of callers is in [assertion]"),
            ("[decisions]\ndays = 4294967295", "`days` must be at most 36500"),
            ("[retention]\ndrift_days = 36501", "`drift_days` must be at most 36500"),
            ("[upstream]\nhealth_interval_ms = 0", "`health_interval_ms` must be at least 1"),
            ("[upstream]\nconnect_timeout_ms = 0", "`connect_timeout_ms` must be at least 1"),
            ("[upstream]\nresolve_interval_ms = 0", "`resolve_interval_ms` must be at least 1"),
            ("[access]\nclock_settle_ms = 999", "`clock_settle_ms` must be at least 1000"),
            ("[listen]\nproxy = \"unix:/run/a b\"", "`proxy` must not contain white space"),
            ("[listen]\nadmin = \"127.0.0.1:8080\"", "`proxy` and `admin` must be different addresses"),
            ("[upstream]\nhost = \"a\\nb\"", "`host` is not a valid Host"),
            ("[upstream]\nhost = \"\"", "`host` is not a valid Host"),
            ("[assertion]\naudience = \"\"", "`audience` is empty"),
            ("[mapping]\nsettle_ms = 49", "`settle_ms` must be between 50 and 60000"),
            ("[mapping]\nsettle_ms = 60001", "`settle_ms` must be between 50 and 60000"),
            ("[firewall]\nallow_semicolon = false", "`allow_semicolon` is gone"),
            ("[session]\ncookie_name = \"\"", "`cookie_name` is empty"),
            ("[session]\nadmin_id_key = \"\"", "`admin_id_key` is empty"),
            ("[environments]\nproduction = []", "`production` must name at least one word"),
            ("[environments]\nproduction = [\"prod \"]", "`production` must name at least one word"),
            ("[audit.mirror]\ntable = \"a\"", "missing field `columns`"),
            ("[audit.mirror]\ntable = \"a\"\ncolumn = {}", "`column` is not a key here"),
            (
                "[audit.mirror]\ntable = \"a\"\ncolumns = { b = { field = \"time\", constant = \"x\" } }",
                "a column of the mirror is one of",
            ),
            (
                "[audit.mirror]\ntable = \"a\"\ncolumns = { b = { feild = \"time\" } }",
                "`feild` is not a key here",
            ),
        ];
        for (text, message) in table {
            let error = Settings::parse("gate.toml", text).unwrap_err().one_line_each();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn a_mirror_is_read_with_its_sources() {
        let text = "[audit.mirror]\ntable = \"public.audit_log\"\nurl = \"sqlite:other.sqlite\"\n\
            columns = { id = { field = \"event_id\" }, kind = { constant = 7 }, more = { json = [\"path\"] } }\n";
        let mut settings = Settings::parse("gate.toml", text).unwrap();
        settings.resolve_paths(Path::new("/etc/gate"));
        let mirror = settings.audit.mirror.unwrap();
        assert_eq!(mirror.events, ["access_denied"]);
        assert_eq!(format!("{:?}", mirror.url.unwrap()), "sqlite:/etc/gate/other.sqlite");
        let sources: Vec<String> = mirror.columns.values().map(|source| format!("{source:?}")).collect();
        assert_eq!(sources, ["Field(\"event_id\")", "Constant(\"7\")", "Json([\"path\"])"]);
    }

    #[test]
    fn paths_are_relative_to_the_settings_file() {
        let text = "[listen]\nupgrade_socket = \"up.sock\"\n[otlp]\nheaders_file = \"otlp.headers\"\n\
            [buffers]\nfolder = \"bodies\"\n[audit]\nspool_folder = \"/var/spool/gate\"\n";
        let mut settings = Settings::parse("gate.toml", text).unwrap();
        settings.resolve_paths(Path::new("/etc/gate"));
        assert_eq!(settings.listen.upgrade_socket(), Path::new("/etc/gate/up.sock"));
        assert_eq!(settings.otlp.headers_file.as_deref(), Some(Path::new("/etc/gate/otlp.headers")));
        assert_eq!(settings.buffers.folder, Path::new("/etc/gate/bodies"));
        assert_eq!(settings.audit.spool_folder, Path::new("/var/spool/gate"));
    }

    #[test]
    fn production_wants_its_hosts_named() {
        assert!(Settings::parse("gate.toml", "environment = \"production\"").is_err());
        let named = "environment = \"production\"\n[firewall]\nallowed_hosts = [\"console.example.com\"]\n";
        assert!(Settings::parse("gate.toml", named).is_ok());
    }

    #[test]
    fn tls_is_off_or_whole() {
        let table = [
            ("", true),
            ("certificate_file = \"a.crt\"\nkey_file = \"a.key\"\nmin_version = \"1.3\"", true),
            ("certificate_file = \"a.crt\"", false),
            ("key_file = \"a.key\"", false),
            ("min_version = \"1.1\"", false),
            ("min_version = 1.2", false),
            ("handshake_timeout_ms = 0", false),
            ("certificate_file = \"a.crt\"\nkey_file = \"a.key\"\n[listen]\nh2c = true", false),
        ];
        for (section, expected) in table {
            let parsed = Settings::parse("gate.toml", &format!("[tls]\n{section}\n"));
            assert_eq!(parsed.is_ok(), expected, "{section}");
        }
    }

    #[test]
    fn a_public_url_is_one_that_paths_can_follow() {
        let table = [
            ("", true),
            ("public_url = \"https://gate.internal:9901\"", true),
            ("public_url = \"http://gate.internal/gate\"", true),
            ("public_url = \"https://gate.internal/\"", false),
            ("public_url = \"https://\"", false),
            ("public_url = \"gate.internal\"", false),
            ("public_url = \"https://gate.internal?x=\"", false),
        ];
        for (section, expected) in table {
            let parsed = Settings::parse("gate.toml", &format!("[api]\n{section}\n"));
            assert_eq!(parsed.is_ok(), expected, "{section}");
        }
    }

    #[test]
    fn names_of_callers_are_of_something_that_the_gate_knows() {
        let record = |path: &str, method: &str| {
            format!("resources.record = {{ path = \"{path}\", actions = {{ read = \"{method}\" }} }}")
        };
        let table = [
            ("subjects = { user = \"admin\", bot = \"machine\" }".to_owned(), true),
            ("subjects = { user = \"person\" }".to_owned(), false),
            ("subjects = { machine = \"admin\" }".to_owned(), false),
            (record("/records/{id}", "GET"), true),
            (record("/records/{id}/x", "PUT"), true),
            (record("/records", "GET"), false),
            (record("/{id}/{id}", "GET"), false),
            (record("records/{id}", "GET"), false),
            (record("/records/{id}", "SING"), false),
            (record("/records/{id}", "GET").replace("record =", "role ="), false),
            ("resources.record = { path = \"/{id}\", actions = {} }".to_owned(), false),
            ("access_requests = true".to_owned(), false),
            ("access_requests = true\npublic_url = \"https://gate.internal\"".to_owned(), true),
        ];
        for (section, expected) in table {
            let parsed = Settings::parse("gate.toml", &format!("[api]\n{section}\n"));
            assert_eq!(parsed.is_ok(), expected, "{section}");
        }
        let parsed =
            Settings::parse("gate.toml", &format!("[api]\n{}\n", record("/r/{id}.json", "GET"))).unwrap();
        let named = &parsed.api.resources["record"];
        assert_eq!(named.path_of("a b/c"), "/r/a%20b%2Fc.json", "an id is one segment, whatever is in it");
        assert_eq!(named.id_of("/r/7.json").as_deref(), Some("7"));
        for path in ["/r/.json", "/r/7", "/x/7.json", "/r/7/8.json"] {
            assert_eq!(named.id_of(path), None, "{path}");
        }
    }

    #[test]
    fn hsts_is_a_year_by_default() {
        let table = [
            ("", Some("max-age=31536000")),
            ("hsts_seconds = 60", Some("max-age=60")),
            ("hsts_seconds = 0", None),
        ];
        for (section, expected) in table {
            let settings = Settings::parse("gate.toml", &format!("[tls]\n{section}\n")).unwrap();
            assert_eq!(settings.tls.hsts().as_deref(), expected, "{section}");
        }
    }

    #[test]
    fn pushed_knowledge_is_off_unless_asked_for_and_bounded() {
        use policy::mapping::Freshness;
        let parsed = |section: &str| Settings::parse("gate.toml", &format!("[access]\n{section}\n"));
        assert_eq!(parsed("").unwrap().access.freshness, Freshness::Strict);
        assert_eq!(parsed("freshness = \"push\"").unwrap().access.freshness, Freshness::Push);
        for (section, expected) in [
            ("freshness = \"pull\"", false),
            ("max_staleness_ms = 0", false),
            ("max_staleness_ms = 199", false),
            ("max_staleness_ms = 200", true),
            ("max_staleness_ms = 10000", true),
            ("max_staleness_ms = 10001", false),
        ] {
            assert_eq!(parsed(section).is_ok(), expected, "{section}");
        }
    }

    #[test]
    fn a_finding_quotes_no_password() {
        let source = "[database]\nurl = \"mysql://gate:hunter2@db/console\"\n";
        let shown = Settings::parse("gate.toml", source).unwrap_err().to_string();
        assert!(shown.contains("@db/console") && !shown.contains("hunter2"), "{shown}");
        // The URL in the wrong place, which serde quotes, and the password in the query, where sqlx takes it too.
        for source in [
            "database = \"postgres://gate:hunter2@db/console\"",
            "[listen]\nproxy = \"postgres://gate:hunter2@db/console\"",
            "[audit]\nclient_address = \"postgres://db/console?user=gate&password=hunter2\"",
            "[database]\nmax_connections = \"postgres://gate:hunter2?@db/console?password=hunter2@x\"",
            "\"postgres://gate:hunter2@db/console\" = 1",
        ] {
            let diagnostics = Settings::parse("gate.toml", source).unwrap_err();
            for shown in [diagnostics.to_string(), diagnostics.one_line_each()] {
                assert!(!shown.contains("hunter2"), "{shown}");
            }
        }
    }

    #[test]
    fn a_database_url_is_never_printed() {
        let settings =
            Settings::parse("gate.toml", "[database]\nurl = \"postgres://gate:hunter2@db/console\"").unwrap();
        assert!(!format!("{settings:?}").contains("hunter2"));
    }
}
