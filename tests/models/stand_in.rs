//! A stand-in for Console: it answers 200 to everything and counts what reached it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::HeaderName;
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// Set on whatever the stand-in answers, and by nobody else.
pub const FIELD: &str = "x-stand-in";

pub struct StandIn {
    socket: PathBuf,
    reached: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl StandIn {
    /// Listens on `folder/stand-in.sock`.
    pub fn start(folder: &Path) -> StandIn {
        let socket = folder.join("stand-in.sock");
        let listener = UnixListener::bind(&socket).expect("a new socket");
        let reached = Arc::new(AtomicUsize::new(0));
        let app = Router::new().fallback(answer).with_state(reached.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, app).await.expect("the stand-in serves");
        });
        StandIn { socket, reached, serving }
    }

    pub fn socket(&self) -> PathBuf {
        self.socket.clone()
    }

    /// How many requests have reached it, without the gate's look at its health.
    pub fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn answer(
    State(reached): State<Arc<AtomicUsize>>,
    request: Request,
) -> ([(HeaderName, &'static str); 1], &'static str) {
    if request.uri().path() != "/healthz" {
        reached.fetch_add(1, Ordering::SeqCst);
    }
    let body: Body = request.into_body();
    // A body that is left unread would cost the connection.
    let _ = to_bytes(body, usize::MAX).await;
    ([(HeaderName::from_static(FIELD), "yes")], "ok")
}
