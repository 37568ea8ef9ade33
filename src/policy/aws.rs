//! IAM.

use serde_json::{Value, json};

use super::quote::{iam, shell, terraform};
use super::{Form, Place, Policy};

pub(super) fn policy(place: &Place, form: Form) -> Policy {
    let document = document(place);
    let text = match form {
        Form::Json => format!("{document:#}"),
        Form::Terraform => as_terraform(place),
        Form::Cli => format!(
            "aws iam create-policy --policy-name {} --policy-document {}",
            shell(&policy_name(place)),
            shell(&document.to_string())
        ),
    };
    Policy { text, notes: notes(place) }
}

fn document(place: &Place) -> Value {
    let mut list = json!({
        "Sid": "ListDocuments",
        "Effect": "Allow",
        "Action": "s3:ListBucket",
        "Resource": bucket(place),
    });
    if !place.root_path.is_empty()
        && let Some(list) = list.as_object_mut()
    {
        list.insert("Condition".to_owned(), json!({ "StringLike": { "s3:prefix": prefixes(place) } }));
    }
    let read = json!({
        "Sid": "ReadDocuments",
        "Effect": "Allow",
        "Action": "s3:GetObject",
        "Resource": objects(place),
    });
    json!({ "Version": "2012-10-17", "Statement": [read, list] })
}

fn as_terraform(place: &Place) -> String {
    let condition = if place.root_path.is_empty() {
        String::new()
    } else {
        format!(
            "\n    condition {{\n      test     = \"StringLike\"\n      variable = \"s3:prefix\"\n      values   = [{}]\n    }}",
            terraform(&prefixes(place))
        )
    };
    format!(
        "data \"aws_iam_policy_document\" \"callboard\" {{\n  \
           statement {{\n    sid       = \"ReadDocuments\"\n    actions   = [\"s3:GetObject\"]\n    resources = [{}]\n  }}\n  \
           statement {{\n    sid       = \"ListDocuments\"\n    actions   = [\"s3:ListBucket\"]\n    resources = [{}]{condition}\n  }}\n\
         }}\n\n\
         resource \"aws_iam_policy\" \"callboard\" {{\n  \
           name   = {}\n  policy = data.aws_iam_policy_document.callboard.json\n\
         }}",
        terraform(&objects(place)),
        terraform(&bucket(place)),
        terraform(&policy_name(place)),
    )
}

/// The bucket's ARN, in the partition of its region.
fn bucket(place: &Place) -> String {
    let partition = match place.region.as_deref().unwrap_or_default() {
        region if region.starts_with("cn-") => "aws-cn",
        region if region.starts_with("us-gov-") => "aws-us-gov",
        region if region.starts_with("us-isob-") => "aws-iso-b",
        region if region.starts_with("us-iso-") => "aws-iso",
        region if region.starts_with("eusc-") => "aws-eusc",
        _ => "aws",
    };
    format!("arn:{partition}:s3:::{}", place.bucket)
}

fn objects(place: &Place) -> String {
    format!("{}/{}*", bucket(place), iam(&place.prefix()))
}

fn prefixes(place: &Place) -> String {
    format!("{}*", iam(&place.prefix()))
}

/// IAM takes few characters in names.
fn policy_name(place: &Place) -> String {
    let is_taken = |c: char| c.is_ascii_alphanumeric() || "+=,.@-_".contains(c);
    let bucket: String = place.bucket.chars().filter(|c| is_taken(*c)).take(100).collect();
    format!("callboard-read-{bucket}")
}

fn notes(place: &Place) -> Vec<String> {
    let mut notes = vec![
        "Attach it to the role or user that Callboard runs as. As a bucket policy each statement also needs a Principal."
            .to_owned(),
        "Where the bucket is encrypted with a KMS key of your own, allow kms:Decrypt on that key as well, and nothing else."
            .to_owned(),
    ];
    if !place.root_path.is_empty() {
        notes.push(
            "With a root path S3 answers 403 for what is absent, since listing is allowed below the root path only: see \
             callboard.storage.s3.forbiddenIsAbsent."
                .to_owned(),
        );
    }
    notes
}
