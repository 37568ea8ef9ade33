//! The least policies as they are printed, held against `tests/suite/read_only/policies`.

use std::path::PathBuf;
use std::process::Command;

use callboard::policy::{Form, Kind, Place, PolicyError, policy};
use serde_json::Value;

fn place(root_path: &str) -> Place {
    let [bucket, region] = ["acme-docs", "eu-central-1"].map(str::to_owned);
    Place { bucket, root_path: root_path.to_owned(), region: Some(region), ..Place::default() }
}

fn text(kind: Kind, place: &Place, form: Form) -> String {
    policy(kind, place, form).unwrap().text
}

#[test]
fn each_is_printed_as_it_was_agreed() {
    let known = [
        (Kind::Aws, &[Form::Json, Form::Terraform, Form::Cli][..]),
        (Kind::Gcs, &[Form::Json, Form::Terraform, Form::Cli]),
        (Kind::Azure, &[Form::Json, Form::Terraform, Form::Cli]),
        (Kind::Swift, &[Form::Json, Form::Cli]),
        (Kind::Sftp, &[Form::Cli]),
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/suite/read_only/policies");
    let mut wrong = Vec::new();
    for (kind, forms) in known {
        for form in forms {
            for (name, root_path) in [("whole", ""), ("part", "sites/all")] {
                let file = folder.join(format!("{kind}-{name}.{form}"));
                let bucket = if kind == Kind::Sftp { "/srv/docs" } else { "acme-docs" }.to_owned();
                let printed = text(kind, &Place { bucket, ..place(root_path) }, *form) + "\n";
                if std::fs::read_to_string(&file).ok().as_ref() != Some(&printed) {
                    wrong.push(format!("{}:\n{printed}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_bucket_lies_in_the_partition_of_its_region() {
    for (region, partition) in [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("us-east-1", "aws")] {
        let place = Place { region: Some(region.to_owned()), ..place("") };
        let document: Value = serde_json::from_str(&text(Kind::Aws, &place, Form::Json)).unwrap();
        assert_eq!(document["Statement"][1]["Resource"], format!("arn:{partition}:s3:::acme-docs"));
    }
}

#[test]
fn what_means_something_in_a_policy_or_a_shell_means_itself() {
    let odd = place("a*b/${c} $(id);d");
    let document: Value = serde_json::from_str(&text(Kind::Aws, &odd, Form::Json)).unwrap();
    assert_eq!(document["Statement"][0]["Resource"], "arn:aws:s3:::acme-docs/a${*}b/${$}{c} ${$}(id);d/*");
    for kind in [Kind::Aws, Kind::Gcs, Kind::Azure, Kind::Swift] {
        // The clouds' commands do nothing here; whatever else would run, complains.
        let commands =
            "aws() { :; }; az() { :; }; gcloud() { :; }; swift() { :; }; openstack() { :; }; id() { echo run >&2; }";
        let folder = tempfile::TempDir::new().unwrap();
        let script = format!("{commands}\n{}", text(kind, &odd, Form::Cli));
        let output = Command::new("sh").args(["-euc", &script]).current_dir(folder.path()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{kind}: {said}");
    }
    assert!(text(Kind::Gcs, &odd, Form::Terraform).contains("$${c}"));
}

#[test]
fn names_that_no_policy_can_hold_are_refused() {
    for name in ["a'b", "a\"b", "a\nb", "a\\b"] {
        for kind in [Kind::Aws, Kind::Gcs, Kind::Azure, Kind::Swift, Kind::Sftp] {
            let refused = policy(kind, &place(name), Form::Cli);
            assert!(matches!(refused, Err(PolicyError::Name(..))), "{kind}: {name:?}");
        }
    }
    assert!(policy(Kind::Sftp, &place(""), Form::Terraform).unwrap_err().to_string().contains("--format cli"));
}
