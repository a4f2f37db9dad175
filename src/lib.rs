//! console-gate: an authorization gateway in front of Console.
//!
//! The code that decides and the code that proves are in crates of their own, without I/O: `policy` (who may do what),
//! `ledger` (the audit's records and their chain), `workbench` (reports), `console_source` (Console's Python). This
//! crate is the gate that runs:
//!
//! - [`edge`]: one request from the socket to Console and back: sockets, TLS, the upstream servers.
//! - [`ruling`]: the outcome of one request, and the answer to its caller.
//! - [`freshness`]: what a principal holds, proven current: the cache and its rule.
//! - [`identity`]: the gate logs people in: passkeys, sessions of its own, their pages.
//! - [`journal`]: what happened, made durable: denials before they are answered, the rest behind the answers.
//! - [`activation`]: the running mapping and how it is replaced.
//! - [`assertion`]: the gate's statement to Console about the principal of a request.
//! - [`admin`]: the admin address: health, readiness, metrics, the API.
//! - [`facts`]: the facts for reports, read from the store as of one moment.
//! - [`upkeep`]: periodic work by one of all gates: snapshots, reminders, retention.
//! - [`pages`]: pages for people at `/console/rbac`, each a client of the RBAC API within the process.
//! - [`rbac_api`]: `/api/rbac`, which the gate itself serves on the proxy's address.
//! - [`spans`]: traces of requests for a collector of OpenTelemetry.
//! - [`traffic`]: outcomes of requests, counted by row, for the metrics.
//! - [`logged`]: the gate's own errors as they leave the log.
//! - [`outbound`]: the gate's HTTP requests to other services.
//! - [`settings`]: `gate.toml`; [`server`]: where everything is wired together; [`cli`]: the subcommands.
//! - [`clock`], [`random`], [`folder_watch`]: time, fresh random values, and changes of files.

#![forbid(unsafe_code)]

pub mod activation;
pub mod admin;
pub mod assertion;
pub mod cli;
pub mod edge;
pub mod facts;
pub mod folder_watch;
pub mod freshness;
pub mod identity;
pub mod journal;
pub mod logged;
pub mod outbound;
pub mod pages;
pub mod random;
pub mod rbac_api;
pub mod ruling;
pub mod server;
pub mod settings;
mod sheet;
mod signed;
pub mod spans;
pub mod text_file;
pub mod tickets;
pub mod traffic;
pub mod upkeep;
pub mod version;
