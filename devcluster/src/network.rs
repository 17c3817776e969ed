//! Which loopback network a cluster has: the first 127.N.0.0/16, N from 96 to 127, that nobody uses.
//! I/O: tries ports; keeps who has claimed what in the cache folder, below `networks/`.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::build::cache_folder;
use crate::folder::{Folder, lock};
use crate::state::State;

/// The networks that clusters may have.
const NUMBERS: std::ops::RangeInclusive<u8> = 96..=127;

/// A cluster's loopback network, 127.N.0.0/16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Network(u8);

impl Network {
    /// The address of all the cluster's servers, and of its `kubernetes` Service.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, 0, 1)
    }

    /// The range of Service addresses.
    pub fn range(self) -> String {
        format!("127.{}.0.0/16", self.0)
    }

    /// Claims the first free network for a cluster whose lock the caller holds.
    pub(crate) async fn claim(folder: &Folder, ports: &[u16]) -> Result<Self> {
        let claims = cache_folder()?.join("networks");
        fs::create_dir_all(&claims).with_context(|| format!("cannot make {}", claims.display()))?;
        let _lock = lock(&claims.join("lock"), "choosing a network").await?;
        let mut why = String::new();
        for network in NUMBERS.map(Self) {
            let claim = claims.join(network.0.to_string());
            let holder = fs::read_to_string(&claim).unwrap_or_default();
            if is_used(&holder, folder, network) {
                why = format!("{network} is used by the cluster in {holder}");
            } else if let Err(error) = network.try_ports(ports) {
                why = format!("{error:#}");
            } else {
                fs::write(&claim, folder.path().as_os_str().as_encoded_bytes())
                    .with_context(|| format!("cannot write {}", claim.display()))?;
                return Ok(network);
            }
        }
        bail!("no loopback network from 127.96.0.0/16 to 127.127.0.0/16 is free; of the last one: {why}")
    }

    fn try_ports(self, ports: &[u16]) -> Result<()> {
        for &port in ports {
            TcpListener::bind((self.address(), port))
                .with_context(|| format!("{}:{port} is taken", self.address()))?;
        }
        Ok(())
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.range())
    }
}

/// A claim counts while its cluster is being changed or any of its servers lives; a dead one need not
/// be given back.
fn is_used(holder: &str, own: &Folder, network: Network) -> bool {
    if holder.is_empty() || Path::new(holder) == own.path() {
        return false;
    }
    let Ok(folder) = Folder::open(Path::new(holder)) else { return false };
    folder.is_locked()
        || matches!(State::load(&folder), Ok(Some(state)) if state.network == network && state.any_alive())
}
