//! Clients that show certificates of their own.

use crate::support::pki::{Authority, bearer, callboard, curl, run};
use crate::support::{Callboard, SITE, until};

#[tokio::test]
async fn client_certificates_are_asked_for_and_may_stand_for_a_token() {
    let authority = Authority::new();
    authority.keep("ci", &authority.client("ci", "spiffe://test/other"));
    authority.keep("spiffe", &authority.client("x", "spiffe://test/build"));
    authority.keep("nobody", &authority.client("nobody", "spiffe://test/nobody"));
    let stranger = Authority::new();
    authority.keep("stranger", &stranger.client("ci", "spiffe://test/build"));
    let clients = |mode: &str| {
        format!(
            ", clientCertificates: {{ mode: {mode}, caFiles: ['{}'], subjects: [\
             {{ certificate: CN=ci, subject: external:ci }}, \
             {{ certificate: 'spiffe://test/build', subject: external:build }}] }}",
            authority.ca().display()
        )
    };
    for mode in ["optional", "required"] {
        let callboard = callboard(&authority, &clients(mode)).await;
        let token = bearer(&callboard);
        let ask = async |certificate: Option<&str>, header: Option<&str>| {
            let files = certificate.map(|name| [format!("{name}.crt"), format!("{name}.key")]);
            let files = files.map(|names| names.map(|name| authority.path(&name).display().to_string()));
            let mut arguments = Vec::new();
            arguments.extend(files.iter().flat_map(|[cert, key]| ["--cert", cert, "--key", key]));
            arguments.extend(header.iter().flat_map(|header| ["-H", header]));
            let said = curl(&callboard, &authority, "localhost", &arguments).await;
            let (before, _) = said.split_once(" HTTP/").unwrap();
            before.rsplit(' ').next().unwrap().parse::<u16>().unwrap()
        };
        // 000 is what curl says where there was no answer at all.
        let bare = if mode == "required" { 0 } else { 401 };
        assert_eq!(ask(None, None).await, bare, "{mode}");
        assert_eq!(ask(None, Some(&token)).await, if bare == 0 { 0 } else { 200 }, "{mode}");
        assert_eq!(ask(Some("stranger"), Some(&token)).await, 0, "{mode}");
        assert_eq!((ask(Some("ci"), None).await, ask(Some("spiffe"), None).await), (200, 200), "{mode}");
        assert_eq!((ask(Some("nobody"), None).await, ask(Some("nobody"), Some(&token)).await), (401, 200), "{mode}");
        // A token that is there decides.
        assert_eq!(ask(Some("ci"), Some("Authorization: Bearer a.b.c")).await, 401, "{mode}");
        let catalog = format!("Authorization: Bearer {}", callboard.backstage.token_of("catalog"));
        assert_eq!(ask(Some("ci"), Some(&catalog)).await, 403, "{mode}");
    }
}

#[tokio::test]
async fn a_mapped_certificate_reads_only_what_its_subject_may_and_is_remembered_by_the_session() {
    let authority = Authority::new();
    authority.keep("ci", &authority.client("ci", "spiffe://test/ci"));
    let section = format!(
        ", clientCertificates: {{ mode: optional, caFiles: ['{}'], \
         subjects: [{{ certificate: CN=ci, subject: external:ci }}] }}",
        authority.ca().display()
    );
    let callboard = callboard(&authority, &section).await;
    let (cert, key, session) = (authority.path("ci.crt"), authority.path("ci.key"), authority.path("session.pem"));
    let session = session.to_str().unwrap();
    let page = format!("GET {SITE}/index.html HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let connect = callboard.address.to_string();
    let ask = async |more: &[&str]| {
        let all = [&["s_client", "-connect", &connect, "-ign_eof"], more].concat();
        run("openssl", &all, &page).await.0
    };
    let with = ["-cert", cert.to_str().unwrap(), "-key", key.to_str().unwrap(), "-sess_out", session];
    assert!(ask(&with).await.contains("HTTP/1.1 200"));
    let resumed = ask(&["-sess_in", session]).await;
    assert!(resumed.contains("Reused") && resumed.contains("HTTP/1.1 200"), "{resumed}");
    // The authority is replaced: the session that its certificate opened is worth nothing any more.
    let stranger = Authority::new();
    authority.write("ca.crt", &std::fs::read_to_string(stranger.ca()).unwrap());
    until(async || !ask(&["-sess_in", session]).await.contains("Reused")).await;
    assert!(ask(&["-sess_in", session]).await.contains("HTTP/1.1 401"));

    // Where `allow` does not list the subject, the certificate reads nothing.
    authority.keep("ci", &stranger.client("ci", "spiffe://test/ci"));
    let pair = authority.section(&["tls"], &section);
    let other = Callboard::with(&format!("{pair}  auth: {{ allow: ['plugin:techdocs'] }}\n")).await;
    let connect = other.address.to_string();
    let all = [&["s_client", "-connect", connect.as_str(), "-ign_eof"], &with[..4]].concat();
    let said = run("openssl", &all, &page).await.0;
    assert!(said.contains("HTTP/1.1 403"), "{said}");
}

#[tokio::test]
async fn an_open_connection_ends_when_its_certificates_authority_counts_no_more() {
    let authority = Authority::new();
    let clients = Authority::new();
    clients.keep("ci", &clients.client("ci", "spiffe://test/ci"));
    let section = format!(
        ", clientCertificates: {{ mode: optional, caFiles: ['{}'], \
         subjects: [{{ certificate: CN=ci, subject: external:ci }}] }}",
        clients.ca().display()
    );
    let callboard = callboard(&authority, &section).await;
    let pem = [clients.path("ci.crt"), clients.path("ci.key")].map(|file| std::fs::read(file).unwrap()).concat();
    let client = authority.http_client().identity(reqwest::Identity::from_pem(&pem).unwrap()).build().unwrap();
    let url = format!("https://localhost:{}{SITE}/index.html", callboard.address.port());
    let status = async || client.get(&url).send().await.map(|page| page.status().as_u16());
    assert_eq!(status().await.unwrap(), 200);
    clients.write("ca.crt", &std::fs::read_to_string(Authority::new().ca()).unwrap());
    // The client keeps its connection as long as it may; on the next one its certificate is refused.
    until(async || status().await.is_err()).await;
}
