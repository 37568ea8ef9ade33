//! Variants beside their documents.

use super::*;
use crate::http::negotiation::Coding;

fn of(file: &str, coding: Coding, document: &Bytes) -> VariantOf {
    VariantOf { key: key(file), coding, digest: sha256(document) }
}

fn variant_name(file: &str, coding: Coding) -> String {
    format!("{}:{}", name(file), coding.as_str())
}

impl Rig {
    async fn store_variant(&self, variant: &VariantOf, bytes: &Bytes) {
        self.shared.store_variant(variant.clone(), bytes.clone());
        self.written().await;
    }
}

#[tokio::test]
async fn a_variant_comes_back_as_it_was_made() {
    let rig = Rig::start();
    // The last has several pieces; an empty one says that there is none worth it.
    for bytes in [0, 10, 256 * 1024, 1_000_000] {
        let (document, made) = (text(2_000_000), noise(bytes));
        for coding in Coding::COMPRESSING {
            let variant = of("a.html", coding, &document);
            rig.store_variant(&variant, &made).await;
            assert!(rig.shared.variant(&variant, document.len()).await.as_ref() == Some(&made), "{coding:?} {bytes}");
            let ttl: i64 = rig.server.ask(cmd("PTTL").arg(variant_name("a.html", coding))).await;
            assert!((500_000..=600_000).contains(&ttl), "{ttl}");
        }
    }
    assert_eq!(rig.shared.variant(&of("b.html", Coding::Br, &text(10)), 10).await, None);
    rig.counted(r#"bad_values_total{reason="integrity"} 0"#);
}

#[tokio::test]
async fn it_is_good_for_its_own_bytes_only_and_the_next_one_replaces_it() {
    let rig = Rig::start();
    let (old, new) = (of("a.html", Coding::Br, &text(1000)), of("a.html", Coding::Br, &text(2000)));
    rig.store_variant(&old, &noise(100)).await;
    assert_eq!(rig.shared.variant(&new, 2000).await, None);
    let made = noise(101);
    rig.store_variant(&new, &made).await;
    assert_eq!((rig.shared.variant(&new, 2000).await, rig.shared.variant(&old, 1000).await), (Some(made), None));
    // That it is another's is nothing wrong with it.
    rig.counted(r#"bad_values_total{reason="integrity"} 0"#);
}

#[tokio::test]
async fn one_that_was_moved_changed_or_grown_is_not_believed() {
    let rig = Rig::start();
    let document = text(1000);
    let (br, zstd) = (of("a.html", Coding::Br, &document), of("a.html", Coding::Zstd, &document));
    let elsewhere = of("b.html", Coding::Br, &document);
    rig.store_variant(&br, &noise(100)).await;
    for (other, file, coding) in [(&zstd, "a.html", Coding::Zstd), (&elsewhere, "b.html", Coding::Br)] {
        let copied: i64 =
            rig.server.ask(cmd("COPY").arg(variant_name("a.html", Coding::Br)).arg(variant_name(file, coding))).await;
        assert_eq!((copied, rig.shared.variant(other, 1000).await), (1, None));
    }
    rig.counted(r#"bad_values_total{reason="integrity"} 2"#);
    assert_eq!(rig.shared.variant(&br, 99).await, None, "larger than the document");
    rig.counted(r#"bad_values_total{reason="size"} 1"#);
    let name = variant_name("a.html", Coding::Br);
    let _: i64 = rig.server.ask(cmd("HSET").arg(&name).arg("0").arg(noise(100).as_ref())).await;
    assert_eq!(rig.shared.variant(&br, 1000).await, None);
    rig.counted(r#"bad_values_total{reason="integrity"} 3"#);
    let _: String = rig.server.ask(cmd("SET").arg(&name).arg("a text")).await;
    assert_eq!(rig.shared.variant(&br, 1000).await, None);
    rig.counted(r#"bad_values_total{reason="format"} 1"#);
    // What is made anew takes its place, whatever it was.
    let _: i64 = rig.server.ask(cmd("DEL").arg(&name)).await;
    rig.store_variant(&br, &noise(10)).await;
    assert!(rig.shared.variant(&br, 1000).await.is_some());
}

#[tokio::test]
async fn a_document_that_is_confirmed_keeps_its_variants_as_long() {
    let rig = Rig::start();
    let document = text(1000);
    rig.store("a.html", "a", &document).await;
    rig.store_variant(&of("a.html", Coding::Br, &document), &noise(100)).await;
    let name = variant_name("a.html", Coding::Br);
    let _: i64 = rig.server.ask(cmd("PEXPIRE").arg(&name).arg(100_000)).await;
    rig.shared.renew(&key("a.html"), meta("a", &document), None, confirmed(2));
    rig.written().await;
    let ttl: i64 = rig.server.ask(cmd("PTTL").arg(&name)).await;
    assert!((500_000..=600_000).contains(&ttl), "{ttl}");
    rig.counted(r#"writes_total{result="renewed"} 1"#);
}

#[tokio::test]
async fn variants_go_with_their_document() {
    let rig = Rig::start();
    rig.store("a.html", "a", &text(1000)).await;
    for coding in Coding::COMPRESSING {
        rig.store_variant(&of("a.html", coding, &text(1000)), &noise(100)).await;
    }
    rig.shared.remove(&key("a.html"), None);
    rig.written().await;
    let keys: Vec<String> = rig.server.ask(cmd("KEYS").arg("*")).await;
    assert_eq!(keys, [""; 0]);
}

#[tokio::test]
async fn a_redis_that_fills_up_on_the_way_keeps_no_part_of_a_variant() {
    let rig = Rig::start();
    let used = rig.server.figure("used_memory").await;
    let _: String = rig.server.ask(cmd("CONFIG").arg("SET").arg("maxmemory").arg(used + 2_000_000)).await;
    rig.store_variant(&of("a.html", Coding::Br, &text(1000)), &noise(6_000_000)).await;
    let keys: Vec<String> = rig.server.ask(cmd("KEYS").arg("*")).await;
    assert_eq!(keys, [""; 0]);
    rig.counted(r#"writes_total{result="failed"} 1"#);
}
