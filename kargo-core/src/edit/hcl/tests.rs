//! Each edit as a text before and after, and what a reader of HCL then finds.

use proptest::prelude::*;

use super::*;

#[track_caller]
fn expect(before: &str, key: &str, value: impl Into<Value> + Clone, after: &str) {
    let edited = update(before, &[(key, value)]).unwrap_or_else(|error| panic!("{before:?}: {}", error.report()));
    assert_eq!(edited, after);
}

#[track_caller]
fn refused(text: &str, key: &str, parts: &[&str]) {
    let error = update(text, &[(key, "x")]).unwrap_err();
    for part in parts {
        assert!(error.message().contains(part), "{part:?} is not in {error}");
    }
}

const FILE: &str = r#"# head
terraform {
  required_version = ">= 1.6" // why
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.0" }
  }
}

module "vpc" {
  source  = "terraform-aws-modules/vpc/aws"
  version = "5.1.0" # reviewed
  azs     = ["eu-1a", "eu-1b", /* third */ "eu-1c"]
}

resource "aws_instance" "web" {
  ami           = "ami-1"
  count         = 2
  monitoring    = false
  user_data     = <<-EOT
    echo hello
  EOT
  subnet_id     = module.vpc.private_subnets[0]
  name          = "web-${var.stage}"
  offset        = -1
  nothing       = null
  tags = {
    "app.kubernetes.io/version" = "1.0"
    stage : "dev",
    (var.key) = "x"
  }
  ingress {
    port = 80
  }
  ingress {
    port = 443
  }
}

resource "aws_instance" "db" { ami = "ami-2" }
"#;

#[test]
fn only_the_bytes_of_the_value_change() {
    for (key, value, old, new) in [
        ("module.vpc.version", Value::from("5.2.0"), "\"5.1.0\" #", "\"5.2.0\" #"),
        ("module.vpc.azs.2", "eu-1d".into(), "\"eu-1c\"", "\"eu-1d\""),
        ("module.vpc.azs[1]", "eu-1d".into(), "\"eu-1b\"", "\"eu-1d\""),
        ("terraform.required_version", ">= 1.9".into(), ">= 1.6", ">= 1.9"),
        ("terraform.0.required_version", ">= 1.9".into(), ">= 1.6", ">= 1.9"),
        ("terraform.required_providers.aws.version", "~> 6.0".into(), "~> 5.0", "~> 6.0"),
        ("resource.aws_instance.web.ami", "ami-3".into(), "ami-1", "ami-3"),
        ("resource.aws_instance.db.ami", "ami-3".into(), "ami-2", "ami-3"),
        ("resource.aws_instance.web.count", 3.into(), "= 2", "= 3"),
        ("resource.aws_instance.web.count", Value::Untyped("3".to_owned()), "= 2", "= 3"),
        ("resource.aws_instance.web.count", "3".into(), "= 2", "= \"3\""),
        ("resource.aws_instance.web.monitoring", true.into(), "false", "true"),
        ("resource.aws_instance.web.offset", (-2).into(), "-1\n", "-2\n"),
        ("resource.aws_instance.web.nothing", "some".into(), "null", "\"some\""),
        ("resource.aws_instance.web.tags.stage", "prod".into(), "\"dev\"", "\"prod\""),
        ("resource.aws_instance.web.tags.app\\.kubernetes\\.io/version", "2.0".into(), "\"1.0\"", "\"2.0\""),
        ("resource.aws_instance.web.ingress.1.port", 8443.into(), "443", "8443"),
        ("resource.aws_instance.web.ingress[0].port", 8080.into(), "= 80", "= 8080"),
    ] {
        assert_eq!(FILE.matches(old).count(), 1, "{old:?} stands once");
        expect(FILE, key, value, &FILE.replace(old, new));
    }
    // Line ends, a byte order mark, and a file without an end of line.
    let windows = FILE.replace('\n', "\r\n");
    expect(&windows, "module.vpc.version", "5.2.0", &windows.replace("5.1.0", "5.2.0"));
    expect("\u{feff}a = 1", "a", 2, "\u{feff}a = 2");
    expect("image_tag = \"ü\" # ä\n", "image_tag", "ö", "image_tag = \"ö\" # ä\n");
    // Several at once.
    let both = update(FILE, &[("module.vpc.version", "5.2.0"), ("resource.aws_instance.web.ami", "ami-3")]).unwrap();
    assert_eq!(both, FILE.replace("5.1.0", "5.2.0").replace("ami-1", "ami-3"));
}

#[test]
fn a_text_is_read_back_as_it_was_meant() {
    expect(
        "a = \"\"\n",
        "a",
        "${var.b} %{if} $$ 100% \"q\" \\ \n\t\u{7f}",
        "a = \"$${var.b} %%{if} $$ 100% \\\"q\\\" \\\\ \\n\\t\\u007f\"\n",
    );
    expect("a = 1\n", "a", "$${x} %${y} $$$ {", "a = \"\\u0024$${x} \\u0025$${y} $$$ {\"\n");
    expect("a = \"$${x}\"\n", "a", "${x}", "a = \"$${x}\"\n");
    expect("a = \"\\u0041\"\n", "a", "A", "a = \"\\u0041\"\n");
    expect("a = 1.0\n", "a", 1, "a = 1.0\n");
    expect("a = 1\n", "a", Value::Untyped("v2".to_owned()), "a = \"v2\"\n");
    expect("a = 1\n", "a", Value::Untyped("02".to_owned()), "a = \"02\"\n");
}

#[test]
fn a_number_is_a_label_a_key_or_an_index() {
    let file = "b \"0\" { v = \"label\" }\nb { v = \"plain\" }\nm = { 0 = \"key\" }\n";
    refused(file, "b.0.v", &["names 2 values", "lines 1, 2", "\":0\""]);
    expect(file, "b.:0.v", "x", &file.replace("label", "x"));
    expect(file, "b[0].v", "x", &file.replace("plain", "x"));
    expect(file, "b.v", "x", &file.replace("plain", "x"));
    expect(file, "m.0", "x", &file.replace("key", "x"));
}

#[test]
fn what_cannot_be_set_is_refused_with_the_way_out() {
    for (key, parts) in [
        ("module.vcp.version", vec!["no label \"vcp\" in \"module\"", "did you mean \"vpc\"?"]),
        ("module.vpc.verison", vec!["no \"verison\" in \"module.vpc\"", "did you mean \"version\"?", "source"]),
        ("modul.vpc.version", vec!["in the file", "did you mean \"module\"?"]),
        ("resource.aws_instance.ami", vec!["no label \"ami\"", "web, db"]),
        ("module.vpc", vec!["is a block"]),
        ("resource", vec!["a block with labels, such as \"aws_instance\""]),
        ("resource.aws_instance.web.ingress.port", vec!["stands there 2 times", "resource.aws_instance.web.ingress.0"]),
        ("resource.aws_instance.web.ingress.2.port", vec!["stands there 2 times", "no 2"]),
        ("module.vpc.azs", vec!["is a list", "items"]),
        ("module.vpc.azs.3", vec!["3 items", "no item 3"]),
        ("module.vpc.azs.first", vec!["is a list", "module.vpc.azs.0"]),
        ("resource.aws_instance.web.tags", vec!["is an object", "keys"]),
        ("resource.aws_instance.web.tags.stag", vec!["did you mean \"stage\"?"]),
        ("module.vpc.version.major", vec!["\"module.vpc.version\" is a single value"]),
        ("resource.aws_instance.web.user_data", vec!["holds a heredoc", "in quotes"]),
        ("resource.aws_instance.web.subnet_id", vec!["holds a reference (module.vpc.private_subnets[0])"]),
        ("resource.aws_instance.web.subnet_id.x", vec!["is a reference"]),
        ("resource.aws_instance.web.name", vec!["holds a template", "web-${var.stage}"]),
    ] {
        refused(FILE, key, &parts);
    }
    for (text, what) in [
        ("a = f(1)", "a call"),
        ("a = 1 + 1", "an expression"),
        ("a = x ? 1 : 2", "an expression"),
        ("a = !b", "an expression"),
    ] {
        refused(text, "a", &[what]);
    }
    let twice = update(FILE, &[("module.vpc.version", "a"), ("module.:vpc.version", "b")]).unwrap_err();
    assert!(twice.message().contains("same value"), "{twice}");
    refused("a = 1\nb = [", "a", &["not valid HCL at line 2"]);
    refused("a = 1\na = 2\n", "a", &["not valid HCL"]);
    for open in ["[", "{ a = ", "(", "!", "f(", "\"${"] {
        refused(&format!("a = {}", open.repeat(20_000)), "a", &["not valid HCL at line 1"]);
    }
    refused(&"b {\n".repeat(20_000), "a", &["not valid HCL"]);
}

proptest! {
    /// Whatever is written is read back, and nothing else is another.
    #[test]
    fn any_text_is_read_back(new in any::<String>(), old in "[a-z \\u{e9}]{0,8}", at in 0_usize..3) {
        let before = format!("x = [\"{old}\", \"{old}\", \"{old}\"] # {old}\ny \"l\" {{ z = \"{old}\" }}\n");
        let edited = update(&before, &[(format!("x.{at}"), new.as_str())]).unwrap();
        let file = read(&edited).unwrap();
        let text = |key: &str| find::find(&edited, &file, &Path::of_one_document(key).unwrap()).unwrap().value.clone();
        for index in 0..3 {
            let wanted = if index == at { new.as_str() } else { old.as_str() };
            prop_assert_eq!(text(&format!("x.{index}")), wanted);
        }
        prop_assert_eq!(text("y.l.z"), old.as_str());
        let rest = format!("] # {old}\ny \"l\" {{ z = \"{old}\" }}\n");
        prop_assert!(edited.ends_with(&rest));
    }

    /// Any numbers too.
    #[test]
    fn any_number_is_read_back(new in prop_oneof![any::<i64>().prop_map(serde_json::Number::from), any::<f64>().prop_filter_map("finite", serde_json::Number::from_f64)]) {
        let edited = update("x = 0 # c\n", &[("x", new.clone())]).unwrap();
        let file = read(&edited).unwrap();
        let found = find::find(&edited, &file, &Path::of_one_document("x").unwrap()).unwrap();
        prop_assert_eq!(&found.value, &normal(Json::Number(new)));
        prop_assert!(edited.ends_with(" # c\n"));
    }

    /// Hostile texts are read or refused, and end.
    #[test]
    fn any_text_at_all_is_taken(text in any::<String>(), key in "[a-z0-9.\\[\\]:]{1,10}") {
        let _ = update(&text, &[(key, "x")]);
    }
}

#[test]
fn a_key_that_is_not_there_is_told_of_a_file_with_two_hundred_thousand_others() {
    let text: String = (0..200_000).map(|n| format!("k{n} = {n}\n")).collect();
    let error = update(&text, &[("nowhere", "x")]).unwrap_err();
    assert!(error.message().contains("and 199980 more"), "{error}");
}
