//! Authorities, requests and OpenSSL for the tests.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use ca::{Authority, CaFiles, IssuedChain, StateDir};
use model::{SpiffeId, TrustDomain};
use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

/// 2040-01-01: later than the certificates that OpenSSL makes by the machine's own clock.
pub fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(2_208_988_800)
}

pub const HOUR: Duration = Duration::from_secs(3600);

pub fn trust_domain() -> TrustDomain {
    TrustDomain::cluster_local()
}

pub fn identity(text: &str) -> SpiffeId {
    text.parse().unwrap()
}

pub fn cart() -> SpiffeId {
    identity("spiffe://cluster.local/ns/shop/sa/cart")
}

pub fn self_signed() -> Authority {
    let files = CaFiles::self_signed(&trust_domain(), now()).unwrap();
    Authority::new(&files, trust_domain(), now()).unwrap()
}

/// A plain request: what an agent sends.
pub fn request(key: &KeyPair) -> Vec<u8> {
    let params = CertificateParams::new(Vec::new()).unwrap();
    params.serialize_request(key).unwrap().der().to_vec()
}

pub fn p256() -> KeyPair {
    KeyPair::generate().unwrap()
}

/// The DER of the first certificate of a PEM text.
pub fn der(pem: &str) -> Vec<u8> {
    pem::parse(pem).unwrap().into_contents()
}

/// A scratch directory in which OpenSSL works.
pub struct Bench(TempDir);

impl Bench {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// A state directory in it.
    pub fn state(&self) -> StateDir {
        StateDir::open(self.path().join("state")).unwrap()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path().join(name)).unwrap()
    }

    /// Runs `openssl` with the words of `command`; panics with its output when it fails.
    pub fn openssl(&self, command: &str) -> String {
        let words = command.split_whitespace();
        let run = Command::new("openssl")
            .args(words)
            .current_dir(self.path())
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&run.stdout) + String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "openssl {command}: {out}");
        out.into_owned()
    }

    /// Runs `openssl verify -x509_strict` on an issued chain, against its own last element.
    pub fn verify(&self, issued: &IssuedChain, purpose: &str) {
        let (roots, chain) = issued.chain.split_last().unwrap();
        let (leaf, intermediates) = chain.split_first().unwrap();
        self.write("leaf.pem", leaf);
        self.write("roots.pem", roots);
        self.write("intermediates.pem", &intermediates.concat());
        let untrusted = if intermediates.is_empty() {
            ""
        } else {
            "-untrusted intermediates.pem"
        };
        let at = seconds(now());
        self.openssl(&format!(
            "verify -x509_strict -check_ss_sig -purpose {purpose} -attime {at} -CAfile roots.pem {untrusted} leaf.pem"
        ));
    }
}

pub fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}
