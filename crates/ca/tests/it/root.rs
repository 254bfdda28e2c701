//! The self-signed root and the directory that it lives in.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::sync::Barrier;

use ca::{Authority, CaFiles, FileRootStore, InvalidCa, StateDir, StateError, TokenIssuer};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::kit::{self, Bench, cart, now, p256, request, trust_domain};

fn open(dir: &Path) -> Result<Authority, InvalidCa> {
    let store = FileRootStore(StateDir::open(dir)?);
    Authority::open(&store, trust_domain(), now())
}

#[test]
fn svid_18_to_22_the_root_is_fit_to_sign() {
    let files = CaFiles::self_signed(&trust_domain(), now()).unwrap();
    let der = kit::der(&files.root_cert);
    let (_, root) = X509Certificate::from_der(&der).unwrap();
    let basic = root.basic_constraints().unwrap().unwrap();
    assert!(basic.critical && basic.value.ca, "svid_18");
    assert_eq!(basic.value.path_len_constraint, Some(0), "svid_22");
    let usage = root.key_usage().unwrap().unwrap();
    assert!(usage.critical, "svid_19");
    assert_eq!(
        usage.value.flags, 0b110_0000,
        "svid_19: keyCertSign and cRLSign only"
    );
    let key_id = oid_registry_key_id();
    assert!(
        root.get_extension_unique(&key_id).unwrap().is_some(),
        "svid_20"
    );
    root.verify_signature(None).unwrap();
    assert_eq!(root.subject().as_raw(), root.issuer().as_raw());
    let days = (root.validity().not_after.timestamp() - kit::seconds(now()) as i64) / 86400;
    assert_eq!(days, 3650);
}

fn oid_registry_key_id() -> x509_parser::der_parser::oid::Oid<'static> {
    x509_parser::oid_registry::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER
}

#[test]
fn svid_23_each_generation_has_a_new_key_and_subject() {
    let make = || {
        kit::der(
            &CaFiles::self_signed(&trust_domain(), now())
                .unwrap()
                .root_cert,
        )
    };
    let (one, two) = (make(), make());
    let (_, one) = X509Certificate::from_der(&one).unwrap();
    let (_, two) = X509Certificate::from_der(&two).unwrap();
    assert_ne!(one.subject().to_string(), two.subject().to_string());
    assert_ne!(one.public_key().raw, two.public_key().raw);
}

#[test]
fn the_root_is_created_once_and_kept() {
    let bench = Bench::new();
    let dir = bench.path().join("deep/state");
    let first = open(&dir).unwrap();
    assert_eq!(open(&dir).unwrap().root_bundle(), first.root_bundle());
    let mode = |path: &str| {
        std::fs::metadata(dir.join(path))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!((mode(""), mode("ca")), (0o700, 0o700));
    for file in [
        "ca-cert.pem",
        "ca-key.pem",
        "cert-chain.pem",
        "root-cert.pem",
    ] {
        assert_eq!(mode(&format!("ca/{file}")), 0o600, "{file}");
    }
    // The same files serve as plugged-in ones.
    let plugged_in = Authority::plugged_in(&dir.join("ca"), trust_domain(), now()).unwrap();
    assert_eq!(plugged_in.root_bundle(), first.root_bundle());
    bench.verify(
        &plugged_in
            .issue(&request(&p256()), &cart(), None, now())
            .unwrap(),
        "sslserver",
    );
}

#[test]
fn many_that_start_at_once_share_one_root_and_one_token_key() {
    let bench = Bench::new();
    let dir = bench.path().join("state");
    let start = Barrier::new(8);
    let seen: Vec<(String, String)> = std::thread::scope(|scope| {
        let run = || {
            start.wait();
            let authority = open(&dir).unwrap();
            let tokens = TokenIssuer::open(&StateDir::open(&dir).unwrap()).unwrap();
            (
                authority.root_bundle().to_string(),
                format!("{:?}", tokens.verifier()),
            )
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(run)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    assert!(seen.iter().all(|one| *one == seen[0]));
    // Nothing of the losers is left.
    let mut left: Vec<_> = std::fs::read_dir(&dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["ca", "join-tokens"]);
}

#[test]
fn an_exposed_or_damaged_state_directory_is_refused() {
    let bench = Bench::new();
    let dir = bench.path().join("state");
    open(&dir).unwrap();
    let key = dir.join("ca/ca-key.pem");
    let chmod = |path: &Path, mode| {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap()
    };
    let exposed = |dir: &Path| match open(dir) {
        Err(InvalidCa::State(StateError::Exposed { path, .. })) => path,
        other => panic!("{other:?}"),
    };

    chmod(&key, 0o640);
    assert_eq!(exposed(&dir), key);
    chmod(&key, 0o600);
    chmod(&dir, 0o755);
    assert_eq!(exposed(&dir), dir);
    chmod(&dir, 0o700);
    open(&dir).unwrap();

    let text = std::fs::read_to_string(&key).unwrap();
    std::fs::write(&key, "").unwrap();
    assert!(matches!(
        open(&dir),
        Err(InvalidCa::File {
            file: "ca-key.pem",
            ..
        })
    ));
    std::fs::remove_file(&key).unwrap();
    let missing = open(&dir).unwrap_err().to_string();
    assert!(missing.contains("restore or remove"), "{missing}");
    let elsewhere = bench.write("elsewhere.pem", &text);
    symlink(&elsewhere, &key).unwrap();
    assert!(matches!(
        open(&dir),
        Err(InvalidCa::State(StateError::NotAFile { .. }))
    ));
}
