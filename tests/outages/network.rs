//! A network between the controller and the API server that carries everything, until it swallows what it carried: all
//! connections stay open, what is sent is taken, and nothing arrives. So does a load balancer or a NAT that has lost
//! what it knew, while new connections get through. I/O: connections on loopback.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use http::Uri;
use kube::config::Kubeconfig;
use tokio::{
    io::{copy, copy_bidirectional, sink},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinSet,
};

use crate::{common::house::House, stage::Stage};

/// Half a minute until the connection is given up, and as long until what was asked on it is asked again.
const NOTICED: Duration = Duration::from_mins(1);

/// A new execution, and one whose work ends just then.
pub(crate) async fn swallows(house: &Arc<House>) -> Result<()> {
    let network = Network::before(&house.controller).await?;
    let stage = Stage::set(Arc::clone(house), network.access.clone(), Vec::new()).await?;
    stage.runs_to_its_end("before", "argo-workflow").await?;
    stage.create("at-work", "argo-workflow", |_| ()).await;
    stage.until_status("at-work", "Running", |status| status["phase"] == "Running").await?;
    let swallowed = Instant::now();
    network.swallow();
    stage.create("after", "job", |_| ()).await;
    for name in ["at-work", "after"] {
        stage.until_status(name, "Succeeded", |status| status["phase"] == "Succeeded").await?;
        let after = swallowed.elapsed();
        println!("the network swallows everything: {name} is told to have ended after {after:.1?}");
        ensure!(after < NOTICED, "{name} was told to have ended only after {after:.1?}");
    }
    let breaches = stage.breaches().await?;
    ensure!(breaches.is_empty(), "{breaches:?}");
    Ok(())
}

struct Network {
    /// By this the API server is reached through it.
    access: Kubeconfig,
    /// Heard by every connection that is open at that moment.
    swallows: Arc<Notify>,
    _serving: JoinSet<()>,
}

impl Network {
    /// One in front of the API server of that access.
    async fn before(access: &Kubeconfig) -> Result<Self> {
        let mut access = access.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let named = access.clusters.first_mut().and_then(|named| named.cluster.as_mut());
        let cluster = named.context("the access names no cluster")?;
        let server: Uri = cluster.server.as_deref().unwrap_or_default().parse()?;
        let host = server.host().context("the access names no server")?.to_owned();
        let far = (host.clone(), server.port_u16().unwrap_or(443));
        cluster.tls_server_name = Some(host);
        cluster.server = Some(format!("https://{}", listener.local_addr()?));
        let swallows = Arc::new(Notify::new());
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, far, Arc::clone(&swallows)));
        Ok(Self { access, swallows, _serving: serving })
    }

    /// Nothing arrives any more of what is sent on the connections that are open.
    fn swallow(&self) {
        self.swallows.notify_waiters();
    }
}

async fn serve(listener: TcpListener, far: (String, u16), swallows: Arc<Notify>) {
    let mut connections = JoinSet::new();
    while let Ok((near, _)) = listener.accept().await {
        connections.spawn(carry(near, far.clone(), Arc::clone(&swallows)));
    }
}

async fn carry(mut near: TcpStream, far: (String, u16), swallows: Arc<Notify>) {
    let Ok(mut far) = TcpStream::connect(far).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut near, &mut far) => return,
        () = swallows.notified() => {}
    }
    // Until the near end gives up; the far one stays open as long.
    let _ = copy(&mut near, &mut sink()).await;
}
