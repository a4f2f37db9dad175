//! console-gate: an authorization gateway in front of Console.
//!
//! The map of the house, in reading order:
//!
//! - [`mapping`]: `routes.toml`, which route asks what of whom. Pure.
//! - [`firewall`]: which requests are refused before anything is looked up. Pure.
//! - [`identity`]: a request's credential. Pure.
//! - [`rbac`]: what somebody holds. Pure.
//! - [`decision`]: whether that is enough. Pure.
//! - [`explanation`]: which row decides a request, and what becomes of whom, and why. Pure.
//! - [`drift`]: where the two gates disagree, and what was made of it; [`soak`]: when a cluster is ready. Pure.
//! - [`access`]: what somebody holds, proven current: the cache and its rule.
//! - [`audit`]: what happened, made durable before it is answered.
//! - [`store`]: the database, the only place with SQL.
//! - [`activation`]: the running mapping and how it is replaced.
//! - [`assertion`]: what Console is told about who was let in.
//! - [`gate`]: what becomes of one request, and what its caller is told.
//! - [`proxy`]: one request from the socket to Console and back.
//! - [`tls`]: TLS at the gate itself, where nothing in front ends it.
//! - [`upstream`]: Console's servers, their addresses and their health; [`listener`]: whether the gate accepts connections.
//! - [`api`]: health, readiness, metrics.
//! - [`outbound`]: what the gate asks of others over HTTP.
//! - [`registry`]: who there is and what the tables of roles define, for reports about everybody.
//! - [`report`]: what commands find, told to a person, a program or a code host.
//! - [`console_source`]: Console's Python source, read and not run. Pure.
//! - [`coverage`], [`lint`], [`import`]: Console's routes and gates against the mapping, and the mapping from them. Pure.
//! - [`sentry`]: what an operator's error tracker is told.
//! - [`workbench`]: what commands and the API tell of a rollout, gathered from the store.
//! - [`settings`]: `gate.toml`; [`server`]: where everything is wired together; [`cli`]: the subcommands.
//!
//! `tests/architecture.rs` keeps the rules about who may import whom true.

#![forbid(unsafe_code)]

pub mod access;
pub mod activation;
pub mod api;
pub mod assertion;
pub mod audit;
pub mod cli;
pub mod clock;
pub mod console_source;
pub mod coverage;
pub mod decision;
pub mod decision_log;
pub mod diagnostic;
pub mod drift;
pub mod explanation;
pub mod firewall;
pub mod folder_watch;
pub mod gate;
pub mod identity;
pub mod ids;
pub mod impact;
pub mod import;
pub mod lint;
pub mod listener;
pub mod mapping;
pub mod method;
pub mod outbound;
pub mod probe;
pub mod proxy;
pub mod rbac;
pub mod registry;
pub mod replay;
pub mod report;
pub mod sentry;
pub mod server;
pub mod settings;
pub mod soak;
pub mod store;
pub mod tally;
pub mod tls;
pub mod upstream;
pub mod verify;
pub mod workbench;
