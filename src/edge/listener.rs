//! Whether connections are accepted at an address: what readiness, the log and the end of the process go by.

use std::sync::Arc;

use tokio::sync::watch;

/// Where a listener is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection has been accepted yet.
    Opening,
    Open,
    /// It is being closed on purpose.
    Draining,
    /// It has ended unexpectedly.
    Gone,
}

impl Phase {
    /// The word that `/readyz` uses.
    pub fn word(self) -> &'static str {
        match self {
            Phase::Opening => "opening",
            Phase::Open => "open",
            Phase::Draining => "draining",
            Phase::Gone => "gone",
        }
    }
}

/// One listener's phase, shared by the tasks that set it and those that report it.
#[derive(Clone, Debug)]
pub struct Listener(Arc<watch::Sender<Phase>>);

impl Default for Listener {
    fn default() -> Self {
        Listener(Arc::new(watch::Sender::new(Phase::Opening)))
    }
}

impl Listener {
    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.0.borrow()
    }

    /// Notes that a connection was accepted: the only proof that connections are accepted.
    pub fn accepted(&self) {
        if self.phase() == Phase::Opening {
            self.go(&[Phase::Opening], Phase::Open);
        }
    }

    /// Notes that it is about to be closed on purpose.
    pub fn drain(&self) {
        self.go(&[Phase::Opening, Phase::Open], Phase::Draining);
    }

    /// A guard for the task that accepts connections: when it is dropped, by a panic too, no more are accepted.
    pub fn guard(&self) -> Accepting {
        Accepting(self.clone())
    }

    /// Returns once it is no longer opening.
    pub async fn decided(&self) -> Phase {
        self.reaches(|phase| phase != Phase::Opening).await
    }

    /// Returns if it ends without being asked to.
    pub async fn gone(&self) {
        self.reaches(|phase| phase == Phase::Gone).await;
    }

    async fn reaches(&self, is_there: impl Fn(Phase) -> bool) -> Phase {
        let mut phases = self.0.subscribe();
        // `self` holds the sender, so there is always one.
        match phases.wait_for(|phase| is_there(*phase)).await {
            Ok(phase) => *phase,
            Err(_) => Phase::Gone,
        }
    }

    fn go(&self, from: &[Phase], to: Phase) {
        self.0.send_if_modified(|phase| {
            let goes = from.contains(phase);
            if goes {
                *phase = to;
            }
            goes
        });
    }
}

/// See [`Listener::guard`].
#[derive(Debug)]
pub struct Accepting(Listener);

impl Drop for Accepting {
    fn drop(&mut self) {
        self.0.go(&[Phase::Opening, Phase::Open], Phase::Gone);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_is_open_by_an_accepted_connection_alone_and_gone_with_its_acceptor() {
        let listener = Listener::default();
        let accepting = listener.guard();
        assert_eq!(listener.phase(), Phase::Opening);
        listener.accepted();
        assert_eq!(listener.decided().await, Phase::Open);
        drop(accepting);
        listener.gone().await;
        listener.accepted();
        listener.drain();
        assert_eq!(listener.phase(), Phase::Gone);
    }

    #[test]
    fn one_that_drains_is_neither_open_again_nor_gone() {
        let listener = Listener::default();
        let accepting = listener.guard();
        listener.accepted();
        listener.drain();
        listener.accepted();
        drop(accepting);
        assert_eq!(listener.phase(), Phase::Draining);
    }

    #[test]
    fn one_that_never_accepted_anything_is_gone() {
        let listener = Listener::default();
        drop(listener.guard());
        assert_eq!(listener.phase(), Phase::Gone);
    }
}
