//! Starts Console, passes signals on, and ensures that neither process outlives the other.

use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

/// Between two checks of something that takes time.
const AGAIN: Duration = Duration::from_millis(50);
/// How long the rest of the process group has to end after Console ended in time, and how long a killed Console is
/// waited for.
const LAST: Duration = Duration::from_secs(1);

/// Why the wait for Console ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stopped {
    /// Neither: Console listens.
    NotYet,
    ByConsole,
    BySignal,
}

#[derive(Debug, Default)]
struct State {
    /// Console, once it is started.
    console: Option<Pid>,
    exited: Option<ExitStatus>,
    /// The stop signal that this process received from outside.
    asked: Option<Signal>,
    /// Whether the gate serves yet: before that, it is not to be stopped.
    is_serving: bool,
    has_ended: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `is_met`, for `limit` at most, and returns whether it is.
    fn wait(&self, limit: Duration, is_met: impl Fn(&State) -> bool) -> bool {
        let waiting = self.changed.wait_timeout_while(self.lock(), limit, |state| !is_met(state));
        is_met(&waiting.unwrap_or_else(PoisonError::into_inner).0)
    }
}

/// Console and the gate as one.
pub(super) struct Supervisor {
    shared: Arc<Shared>,
    /// Console's process group, once it is started.
    group: Option<Pid>,
}

impl Supervisor {
    /// Takes over the signals before anything can be sent one. `passes_all`: whether Console knows the meaning of
    /// SIGHUP and similar signals.
    ///
    /// # Errors
    ///
    /// A signal cannot be waited for.
    pub(super) fn new(passes_all: bool) -> anyhow::Result<Supervisor> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut others = Vec::new();
        let passed = [Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTTIN, Signal::SIGTTOU];
        // SIGHUP is also for the gate: it reloads the mapping, and must not end the process before the gate waits for
        // it.
        let passed = if passes_all { &passed[..] } else { &passed[..1] };
        for one in passed {
            others.push((*one, signal(SignalKind::from_raw(*one as i32))?));
        }
        drop(inside);
        let known = shared.clone();
        std::thread::spawn(move || {
            runtime.block_on(async {
                for (one, mut coming) in others {
                    let known = known.clone();
                    tokio::spawn(async move {
                        while coming.recv().await.is_some() {
                            let console = known.lock().console.filter(|_| passes_all);
                            if let Some(console) = console {
                                let _ = kill(console, one);
                            }
                        }
                    });
                }
                loop {
                    let asked = tokio::select! {
                        _ = terminate.recv() => Signal::SIGTERM,
                        _ = interrupt.recv() => Signal::SIGINT,
                    };
                    // A signal that this process sent to itself is not a request to stop.
                    known.change(|state| {
                        let is_own = state.exited.is_some() || state.asked == Some(asked);
                        if !is_own {
                            state.asked = Some(asked);
                        }
                    });
                }
            });
        });
        let stopping = shared.clone();
        std::thread::spawn(move || stop_the_gate(&stopping));
        Ok(Supervisor { shared, group: None })
    }

    /// Starts Console. It ends with the thread that calls this.
    ///
    /// # Errors
    ///
    /// It cannot be started.
    pub(super) fn start(&mut self, mut command: Command) -> anyhow::Result<()> {
        let mut child = command.spawn().context("Console cannot be started")?;
        let pid = i32::try_from(child.id()).context("the id of Console's process")?;
        self.shared.change(|state| state.console = Some(Pid::from_raw(pid)));
        let shared = self.shared.clone();
        std::thread::spawn(move || {
            let status = child.wait();
            shared.change(|state| {
                state.console = None;
                // Without a status it is unknown how Console ended, which is not a success.
                state.exited = Some(status.unwrap_or_else(|_| ExitStatus::from_raw(1 << 8)));
                if state.asked.is_none() && !state.has_ended {
                    tracing::error!(status = %state.exited.unwrap_or_default(), "Console has ended, so the gate stops");
                }
            });
        });
        tracing::info!(process = pid, "Console is started");
        self.group = Some(Pid::from_raw(pid));
        Ok(())
    }

    /// Waits until Console accepts a connection.
    ///
    /// # Errors
    ///
    /// Console did not listen within `limit`.
    pub(super) fn until_listening(&self, socket: &Path, limit: Duration) -> anyhow::Result<Stopped> {
        let began = Instant::now();
        loop {
            if UnixStream::connect(socket).is_ok() {
                self.shared.change(|state| state.is_serving = true);
                tracing::info!(after_ms = began.elapsed().as_millis(), "Console listens");
                return Ok(Stopped::NotYet);
            }
            if self.shared.wait(AGAIN, |state| state.exited.is_some() || state.asked.is_some()) {
                let has_exited = self.shared.lock().exited.is_some();
                return Ok(if has_exited { Stopped::ByConsole } else { Stopped::BySignal });
            }
            anyhow::ensure!(
                began.elapsed() < limit,
                "Console did not listen at {} within {} seconds: gunicorn does by itself; give another server the address \
                 with `{{bind}}` or `{{socket}}`, or more time with `--wait`",
                socket.display(),
                limit.as_secs()
            );
        }
    }

    /// Ends Console and everything that it started, once the gate has stopped. Returns the exit code for both.
    pub(super) fn end(&self, grace: Duration) -> u8 {
        self.shared.change(|state| state.has_ended = true);
        let asked = self.shared.lock().asked;
        let by = asked.unwrap_or(Signal::SIGTERM);
        let was_running = self.shared.lock().exited.is_none();
        if let Some(console) = self.shared.lock().console {
            let _ = kill(console, by);
        }
        let has_ended = self.shared.wait(grace, |state| state.exited.is_some());
        if !has_ended {
            tracing::warn!(seconds = grace.as_secs(), "Console has not ended and is killed");
        }
        self.end_group(if has_ended { LAST } else { Duration::ZERO });
        self.shared.wait(LAST, |state| state.exited.is_some());
        let Some(status) = self.shared.lock().exited else { return code(Signal::SIGKILL as i32) };
        match (status.code(), status.signal()) {
            (Some(code), _) => u8::try_from(code).unwrap_or(1),
            // It was asked to end, and did.
            (None, Some(signal)) if was_running && signal == by as i32 => 0,
            (None, signal) => code(signal.unwrap_or_default()),
        }
    }

    /// Ends the remaining processes of Console's group.
    fn end_group(&self, patience: Duration) {
        let Some(group) = self.group else { return };
        let until = Instant::now() + patience;
        let mut left = killpg(group, Signal::SIGTERM).is_ok();
        while left && Instant::now() < until {
            std::thread::sleep(AGAIN);
            left = killpg(group, None).is_ok();
        }
        if left {
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

/// The exit code of shells for a process that a signal ended.
fn code(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

/// Stops the gate when Console has ended or a stop signal arrives. The gate may not wait for signals yet, so the signal
/// is repeated until the gate has ended.
fn stop_the_gate(shared: &Shared) {
    loop {
        let state = shared.lock();
        let by = match (&state.exited, state.asked) {
            (Some(_), _) => Some(Signal::SIGINT),
            (None, asked) => asked,
        };
        let (is_serving, has_ended) = (state.is_serving, state.has_ended);
        drop(state);
        if has_ended {
            return;
        }
        if let (Some(by), true) = (by, is_serving) {
            let _ = kill(Pid::this(), by);
        }
        shared.wait(4 * AGAIN, |state| state.has_ended);
    }
}
