//! A cluster's certificates, keys and kubeconfigs. All are new with each cluster and gone with it.
//!
//! One CA signs everything. One serving certificate is shared by all servers, as they share one address.
//! Each component has a client certificate of its own, so that the audit log tells them apart; the admin
//! has a token. I/O: writes `pki/` and `kubeconfig`; reads random bytes.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};

use crate::encoding::{base64, hex};
use crate::folder::Folder;
use crate::network::Network;

/// The group whose members may do anything.
const MASTERS: &str = "system:masters";

/// Who a component is to the API server: its name in file names, its user, its group.
struct Client {
    file: &'static str,
    user: String,
    group: Option<&'static str>,
}

/// Makes everything for a new cluster.
pub(crate) fn write(folder: &Folder, network: Network, url: &str) -> Result<()> {
    let ca = authority()?;
    private(folder, "pki/ca.crt", &ca.pem())?;
    serving(folder, network, &ca)?;
    // Signs and checks ServiceAccount tokens.
    let tokens = KeyPair::generate()?;
    private(folder, "pki/service-account.key", &tokens.serialize_pem())?;
    private(folder, "pki/service-account.pub", &tokens.public_key_pem())?;
    for client in clients(network) {
        client.write(folder, &ca)?;
        let user = json!({
            "client-certificate": folder.text(&format!("pki/{}.crt", client.file)),
            "client-key": folder.text(&format!("pki/{}.key", client.file)),
        });
        let config = kubeconfig(folder, url, client.file, &user)?;
        private(folder, &format!("pki/{}.kubeconfig", client.file), &config)?;
    }
    let token = random_hex()?;
    private(folder, "pki/tokens.csv", &format!("{token},admin,admin,{MASTERS}\n"))?;
    private(folder, "kubeconfig", &kubeconfig(folder, url, "admin", &json!({"token": token}))?)
}

fn clients(network: Network) -> Vec<Client> {
    let client = |file, user: &str, group| Client { file, user: user.into(), group };
    let node = format!("system:node:{}", network.address());
    vec![
        client("kube-controller-manager", "system:kube-controller-manager", None),
        client("kube-scheduler", "system:kube-scheduler", None),
        client("kubelet", &node, Some("system:nodes")),
        client("workflow-controller", "argo-workflow-controller", Some(MASTERS)),
        // The API server itself, when it asks a kubelet for logs.
        client("kubelet-client", "kube-apiserver", Some(MASTERS)),
    ]
}

impl Client {
    fn write(&self, folder: &Folder, ca: &CertifiedIssuer<'_, KeyPair>) -> Result<()> {
        let mut parameters = CertificateParams::new(Vec::<String>::new())?;
        parameters.distinguished_name = name(&self.user);
        if let Some(group) = self.group {
            parameters.distinguished_name.push(DnType::OrganizationName, group);
        }
        parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        signed(folder, self.file, parameters, ca)
    }
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut parameters = CertificateParams::new(Vec::<String>::new())?;
    parameters.distinguished_name = name("devcluster");
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(parameters, KeyPair::generate()?)
        .context("cannot make a certificate authority")
}

fn serving(folder: &Folder, network: Network, ca: &CertifiedIssuer<'_, KeyPair>) -> Result<()> {
    let service = [
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        "kubernetes.default.svc.cluster.local",
    ];
    let mut names: Vec<String> = service.map(String::from).into();
    names.extend(["localhost".into(), network.address().to_string()]);
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = name("devcluster server");
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    signed(folder, "server", parameters, ca)
}

fn signed(
    folder: &Folder,
    file: &str,
    mut parameters: CertificateParams,
    ca: &CertifiedIssuer<'_, KeyPair>,
) -> Result<()> {
    let key = KeyPair::generate()?;
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    let certificate = parameters.signed_by(&key, ca).with_context(|| format!("cannot sign {file}"))?;
    private(folder, &format!("pki/{file}.crt"), &certificate.pem())?;
    private(folder, &format!("pki/{file}.key"), &key.serialize_pem())
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn kubeconfig(folder: &Folder, url: &str, user: &str, credentials: &Value) -> Result<String> {
    let authority = fs::read(folder.join("pki/ca.crt"))?;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "devcluster", "cluster": {"server": url, "certificate-authority-data": base64(&authority)}}],
        "users": [{"name": user, "user": credentials}],
        "contexts": [{"name": "devcluster", "context": {"cluster": "devcluster", "user": user}}],
        "current-context": "devcluster",
    });
    Ok(serde_yaml::to_string(&config)?)
}

/// Writes a file that only its owner may read.
fn private(folder: &Folder, path: &str, content: &str) -> Result<()> {
    let file = folder.make_parent_of(path)?;
    let write = |file: &Path| -> std::io::Result<()> {
        let mut open = OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(file)?;
        open.set_permissions(Permissions::from_mode(0o600))?;
        open.write_all(content.as_bytes())
    };
    write(&file).with_context(|| format!("cannot write {}", file.display()))
}

/// 128 random bits.
pub(crate) fn random_hex() -> Result<String> {
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut random| random.read_exact(&mut bytes))
        .context("no random bytes")?;
    Ok(hex(&bytes))
}
