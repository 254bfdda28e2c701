//! `tls` of a traffic policy.

use istio_api::ClientTlsMode;

use super::notes::{At, Notes};
use super::value::{strings, text};
use crate::{ClientTls, Code, ServerName};

/// Reads how connections are secured; none: what is needed for it is missing.
pub(super) fn read(
    wire: istio_api::ClientTlsSettings,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) -> Option<ClientTls> {
    let mode = wire.mode.unwrap_or(ClientTlsMode::Disable);
    exclusions(&wire, mode, at, notes);
    let istio_api::ClientTlsSettings {
        mode: _,
        client_certificate,
        private_key,
        ca_certificates,
        credential_name,
        subject_alt_names,
        sni,
        insecure_skip_verify,
        ca_crl,
    } = wire;
    let by_secret = credential_name.is_some_and(|name| !name.is_empty());
    let at_secret = at.field("credentialName");
    if by_secret && mode != ClientTlsMode::Disable && !notes.has_wrong(&at_secret) {
        // Without what the Secret holds, a server that needs it refuses the connection: nothing is weakened.
        notes.warn(
            &at_secret,
            Code::SchemaWarning,
            "sidecars read no Secrets: the credential is for gateways",
            "give sidecars files: `clientCertificate`, `privateKey` and `caCertificates`",
        );
    }
    let server = ServerName {
        sni: text(sni),
        subject_alt_names: strings(subject_alt_names),
        ca_certificates: text(ca_certificates),
        insecure_skip_verify: insecure_skip_verify.unwrap_or(false),
        revoked: text(ca_crl),
    };
    match mode {
        ClientTlsMode::Disable => Some(ClientTls::Disable),
        ClientTlsMode::Simple => Some(ClientTls::Simple(server)),
        ClientTlsMode::Mutual if by_secret => Some(ClientTls::Simple(server)),
        ClientTlsMode::Mutual => {
            let certificate = text(client_certificate);
            let private_key = text(private_key);
            for (name, file) in [
                ("clientCertificate", &certificate),
                ("privateKey", &private_key),
            ] {
                if file.is_none() {
                    notes.missing(
                        &at.field(name),
                        "`MUTUAL` needs the client's certificate and key",
                    );
                }
            }
            Some(ClientTls::Mutual {
                server,
                certificate: certificate?,
                private_key: private_key?,
            })
        }
        ClientTlsMode::IstioMutual => Some(ClientTls::IstioMutual {
            sni: server.sni,
            subject_alt_names: server.subject_alt_names,
        }),
    }
}

/// Fields that do not go with a mode, or not with each other.
fn exclusions(
    wire: &istio_api::ClientTlsSettings,
    mode: ClientTlsMode,
    at: &At<'_>,
    notes: &mut Notes<'_>,
) {
    let istio_api::ClientTlsSettings {
        mode: _,
        client_certificate,
        private_key,
        ca_certificates,
        credential_name,
        subject_alt_names,
        sni: _,
        insecure_skip_verify,
        ca_crl,
    } = wire;
    let files = [
        ("clientCertificate", client_certificate),
        ("privateKey", private_key),
        ("caCertificates", ca_certificates),
        ("caCrl", ca_crl),
    ];
    let files =
        files.map(|(name, file)| (name, file.as_ref().is_some_and(|file| !file.is_empty())));
    let secret = ("credentialName", credential_name.is_some());
    for (name, written) in files.into_iter().chain([secret]) {
        if written && mode == ClientTlsMode::IstioMutual {
            let message = format!("`{name}` does not go with `ISTIO_MUTUAL`");
            notes.refuse(
                &at.field(name),
                message,
                "the mesh's own certificates are used; leave it out",
            );
        }
    }
    for (name, _) in files
        .iter()
        .chain([&secret])
        .filter(|(_, written)| *written)
    {
        if mode == ClientTlsMode::Disable {
            let message = format!("`{name}` has no effect with `DISABLE`");
            let hint = "choose the mode `SIMPLE` or `MUTUAL`, or leave it out";
            notes.warn(&at.field(name), Code::SchemaWarning, message, hint);
        }
    }
    let by_secret = matches!(mode, ClientTlsMode::Simple | ClientTlsMode::Mutual) && secret.1;
    if by_secret && files.iter().any(|(_, written)| *written) {
        let message = "`credentialName` and files exclude each other";
        notes.refuse(&at.field("credentialName"), message, "keep one of them");
    }
    let names_authority = ca_certificates.is_some() || !subject_alt_names.is_empty();
    if insecure_skip_verify.unwrap_or(false) && names_authority {
        notes.refuse(
            &at.field("insecureSkipVerify"),
            "`insecureSkipVerify` excludes `caCertificates` and `subjectAltNames`",
            "verify the server or do not",
        );
    }
}
