//! What a server's name means just now.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;

/// Names to addresses, as a parameter: tests say themselves what a name resolves to.
#[async_trait]
pub trait Resolve: Send + Sync + 'static {
    /// Every address of `name`, which is `host:port`.
    ///
    /// # Errors
    ///
    /// The name does not resolve now.
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>>;
}

/// A shared resolver.
pub type SharedResolver = Arc<dyn Resolve>;

/// The machine's own resolver: its hosts file, its DNS, in the order that it is configured to ask them.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolve for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<SocketAddr>> {
        let mut addresses: Vec<SocketAddr> = Vec::new();
        for address in tokio::net::lookup_host(name).await? {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        Ok(addresses)
    }
}
