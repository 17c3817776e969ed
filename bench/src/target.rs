//! Where an API server is and as whom to talk to it. Plain data, handed to peers as a file.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// One identity at one API server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Target {
    /// `https://` and the address.
    pub url: String,
    /// The certificate by which it is recognised, as PEM.
    pub ca: String,
    /// The bearer token.
    pub token: String,
    /// Where everything happens.
    pub namespace: String,
    /// The ServiceAccount as which children are written.
    pub account: String,
}

impl Target {
    /// Reads what [`Target::write`] wrote.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no target", path.display()))
    }

    /// Writes it for a peer's process.
    pub fn write(&self, path: &Path) -> Result<()> {
        fs::write(path, serde_json::to_vec(self)?).with_context(|| format!("cannot write {}", path.display()))
    }

    /// The same as a kubeconfig, for peers that are ordinary Kubernetes programs.
    pub fn kubeconfig(&self) -> String {
        serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            "clusters": [{"name": "bench", "cluster": {
                "server": self.url,
                "certificate-authority-data": base64(self.ca.as_bytes()),
            }}],
            "users": [{"name": "bench", "user": {"token": self.token}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench", "namespace": self.namespace}}],
        })
        .to_string()
    }

    /// The user that a write of a child impersonates.
    pub fn impersonated(&self) -> String {
        format!("system:serviceaccount:{}:{}", self.namespace, self.account)
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, i| bits << 8 | u32::from(chunk.get(i).copied().unwrap_or(0)));
        for i in 0..4 {
            let digit = DIGITS.get((bits >> (18 - 6 * i) & 63) as usize).copied().unwrap_or(b'=');
            text.push(if i <= chunk.len() { char::from(digit) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_pads() {
        let of = |text: &str| base64(text.as_bytes());
        assert_eq!(
            (of(""), of("f"), of("fo"), of("foo")),
            (String::new(), "Zg==".into(), "Zm8=".into(), "Zm9v".into())
        );
        assert_eq!(of("foobar"), "Zm9vYmFy");
    }
}
