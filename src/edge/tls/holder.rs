//! The running certificate, and how it is replaced.
//!
//! A pair takes effect whole or not at all. Connections go on under the configuration that they shook hands with; a
//! new one takes what runs then. With the configuration goes its memory of sessions, so that no client resumes past a
//! replaced certificate.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use chrono::{DateTime, TimeDelta, Utc};
use clock::SharedClock;
use metrics::{counter, gauge};
use tokio_rustls::rustls::ServerConfig;

use super::pair::{Pair, PairFiles, PairText, TlsError};

/// An automatic renewal should have happened by then: most ACME clients renew with a third of the lifetime left.
const SOON: TimeDelta = TimeDelta::days(14);

/// Holds the running pair and replaces it.
pub struct CertificateHolder {
    running: ArcSwap<Pair>,
    files: PairFiles,
    clock: SharedClock,
    /// What was refused last, so that a broken pair is logged once and not at every look. Locked for the whole of a
    /// refresh, so that one that read older files never stores after one that read newer ones.
    refused: Mutex<Option<Refused>>,
}

#[derive(PartialEq, Eq)]
struct Refused {
    sha256: Option<[u8; 32]>,
    why: String,
}

impl CertificateHolder {
    /// The first pair of a process.
    ///
    /// # Errors
    ///
    /// It cannot be used. Clients would refuse it too, so a gate with such a pair does not start.
    pub fn start(files: PairFiles, clock: SharedClock) -> Result<CertificateHolder, TlsError> {
        let pair = files.check(&files.read()?, clock.now())?;
        let holder = CertificateHolder {
            running: ArcSwap::from_pointee(pair),
            files,
            clock,
            refused: Mutex::new(None),
        };
        holder.show(&holder.running.load());
        Ok(holder)
    }

    /// The configuration for a connection that begins now.
    pub fn config(&self) -> Arc<ServerConfig> {
        self.running.load().config.clone()
    }

    /// Whether the running certificate has expired, so that clients refuse it.
    pub fn has_expired(&self) -> bool {
        self.running.load().not_after < self.clock.now()
    }

    /// When the running certificate expires.
    pub fn not_after(&self) -> DateTime<Utc> {
        self.running.load().not_after
    }

    /// The files that are watched.
    pub fn files(&self) -> &PairFiles {
        &self.files
    }

    /// What the files hold now, by its hash; `None` where they cannot be read.
    pub(super) fn look(&self) -> Option<[u8; 32]> {
        sha256_of(&self.files.read())
    }

    /// Whether that is what runs.
    pub(super) fn runs(&self, sha256: Option<[u8; 32]>) -> bool {
        sha256 == Some(self.running.load().sha256)
    }

    /// Takes up what the files hold. `Ok(false)`: it runs already.
    ///
    /// # Errors
    ///
    /// The pair cannot be used; the running one stays, and the refusal is logged and counted, once.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        self.take_up(self.files.read(), &mut refused)
    }

    /// The same, if the files still hold what they were seen to hold. If they do not, they are being written right now,
    /// and there will be another look.
    pub(super) fn refresh_settled(&self, seen: Option<[u8; 32]>) {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let text = self.files.read();
        if sha256_of(&text) == seen {
            // The outcome is logged and counted where it happens.
            let _ = self.take_up(text, &mut refused);
        }
    }

    fn take_up(
        &self,
        text: Result<PairText, TlsError>,
        refused: &mut Option<Refused>,
    ) -> Result<bool, TlsError> {
        let sha256 = sha256_of(&text);
        if self.runs(sha256) {
            *refused = None;
            return Ok(false);
        }
        match text.and_then(|text| self.files.check(&text, self.clock.now())) {
            Ok(pair) => {
                let pair = Arc::new(pair);
                self.running.store(pair.clone());
                *refused = None;
                counter!("gate_tls_reloads_total", "outcome" => "activated").increment(1);
                self.show(&pair);
                Ok(true)
            }
            Err(error) => {
                let news = Refused { sha256, why: error.to_string() };
                if refused.as_ref() != Some(&news) {
                    counter!("gate_tls_reloads_total", "outcome" => "refused").increment(1);
                    tracing::error!(%error, "the new TLS certificate was refused; the running one stays");
                    *refused = Some(news);
                }
                Err(error)
            }
        }
    }

    fn show(&self, pair: &Pair) {
        self.files.warn_of_an_open_key();
        #[expect(clippy::cast_precision_loss, reason = "a time in this millennium is a small whole number")]
        gauge!("gate_tls_certificate_expiry_seconds").set(pair.not_after.timestamp() as f64);
        tracing::info!(fingerprint = pair.fingerprint, not_after = %pair.not_after, "TLS certificate activated");
        if pair.not_after - self.clock.now() < SOON {
            tracing::warn!(not_after = %pair.not_after, "the TLS certificate expires soon");
        }
    }
}

fn sha256_of(text: &Result<PairText, TlsError>) -> Option<[u8; 32]> {
    text.as_ref().ok().map(|text| text.sha256)
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;

    use super::super::fixtures::{Files, Made};
    use super::*;
    use clock::ManualClock;

    struct Stage {
        files: Files,
        clock: Arc<ManualClock>,
        holder: CertificateHolder,
    }

    fn stage(made: &Made) -> Stage {
        let files = Files::holding(&made.certificate, &made.key);
        let clock = Arc::new(ManualClock::starting_at(Made::noon()));
        let holder = CertificateHolder::start(files.pair(), clock.clone()).unwrap();
        Stage { files, clock, holder }
    }

    #[test]
    fn a_sound_pair_replaces_the_running_one() {
        let stage = stage(&Made::valid());
        let before = stage.holder.config();
        assert!(!stage.holder.refresh().unwrap());
        let next = Made::valid();
        stage.files.put(&next.certificate, &next.key);
        assert!(stage.holder.refresh().unwrap());
        assert!(!Arc::ptr_eq(&before, &stage.holder.config()));
        assert!(!stage.holder.refresh().unwrap());
    }

    #[test]
    fn a_refused_pair_changes_nothing_and_is_counted_once() {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        metrics::with_local_recorder(&recorder, || {
            let stage = stage(&Made::valid());
            let before = stage.holder.config();
            let (next, other) = (Made::valid(), Made::valid());
            stage.files.put(&next.certificate, &other.key);
            for _ in 0..3 {
                assert!(matches!(stage.holder.refresh(), Err(TlsError::Mismatch { .. })));
            }
            std::fs::remove_file(stage.files.key()).unwrap();
            assert!(matches!(stage.holder.refresh(), Err(TlsError::Unreadable { .. })));
            assert!(Arc::ptr_eq(&before, &stage.holder.config()));
            stage.files.put(&next.certificate, &next.key);
            assert!(stage.holder.refresh().unwrap());
        });
        let rendered = handle.render();
        for line in [
            "gate_tls_reloads_total{outcome=\"refused\"} 2",
            "gate_tls_reloads_total{outcome=\"activated\"} 1",
            // Noon and an hour.
            "gate_tls_certificate_expiry_seconds 1800003600",
        ] {
            assert!(rendered.contains(line), "no `{line}` in:\n{rendered}");
        }
    }

    /// A renewal between the look and the reading: the files are half old and half new.
    #[test]
    fn files_that_change_while_they_are_looked_at_are_left_for_the_next_look() {
        let (first, next) = (Made::valid(), Made::valid());
        let stage = stage(&first);
        let seen = stage.holder.look();
        let before = stage.holder.config();
        stage.files.put(&next.certificate, &first.key);
        stage.holder.refresh_settled(seen);
        assert!(stage.holder.refused.lock().unwrap().is_none());
        stage.files.put(&next.certificate, &next.key);
        stage.holder.refresh_settled(stage.holder.look());
        assert!(!Arc::ptr_eq(&before, &stage.holder.config()));
    }

    #[test]
    fn a_certificate_of_tomorrow_is_taken_up_tomorrow() {
        let stage = stage(&Made::valid());
        let tomorrow = Made::valid_between(86_400, 90_000);
        stage.files.put(&tomorrow.certificate, &tomorrow.key);
        assert!(matches!(stage.holder.refresh(), Err(TlsError::NotYetValid { .. })));
        stage.clock.turn(TimeDelta::days(1));
        assert!(stage.holder.refresh().unwrap());
    }

    #[test]
    fn a_gate_does_not_start_with_what_clients_would_refuse() {
        let expired = Made::valid_between(-60, -1);
        let files = Files::holding(&expired.certificate, &expired.key);
        let clock = Arc::new(ManualClock::starting_at(Made::noon()));
        assert!(matches!(CertificateHolder::start(files.pair(), clock), Err(TlsError::Expired { .. })));
    }
}
