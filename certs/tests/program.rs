//! Tests of the program `catchment-certs`: exit status, messages, concurrent processes.

#![allow(clippy::unwrap_used, reason = "a test ends where something is not as expected")]

use std::{
    path::Path,
    process::{Command, Output, Stdio},
};

fn certs(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_catchment-certs")).args(arguments).current_dir(dir).output().unwrap()
}

fn status(output: &Output) -> Option<i32> {
    output.status.code()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn all_commands_for_a_site() {
    let dir = tempfile::tempdir().unwrap();
    let done = |arguments: &str| {
        let output = certs(dir.path(), &arguments.split(' ').collect::<Vec<_>>());
        assert_eq!(status(&output), Some(0), "{arguments}: {}", stderr(&output));
        stdout(&output)
    };
    done("init --dir PKI");
    done("issue aggregator --dir PKI --name centre --host localhost 127.0.0.1 --host ::1");
    done("issue gateway --dir PKI --site berlin --name gw --host localhost");
    done("issue device --dir PKI --site berlin --name a --days 10 --out dev");
    done("issue operator --dir PKI --name ada");
    std::fs::write(dir.path().join("devices.csv"), "site,name\nberlin,b\nberlin,c\n").unwrap();
    assert!(done("issue device --dir PKI --from devices.csv").contains("issued 2"));
    assert!(done("issue device --dir PKI --from devices.csv").contains("skipped 2"));
    assert!(done("inspect dev/cert.pem").contains("spiffe://catchment.local/site/berlin/device/a"));
    let rows: serde_json::Value = serde_json::from_str(&done("list --dir PKI --format json")).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 6);
    let rows: serde_json::Value =
        serde_json::from_str(&done("list --dir PKI --expiring 30d --format json")).unwrap();
    assert_eq!(rows[0]["name"], "a");
    done("renew --dir PKI --site berlin --name a --out dev");
    done("renew --dir PKI --role aggregator --name centre");
    let serial = rows[0]["serial"].as_str().unwrap().to_uppercase();
    assert!(done(&format!("revoke --dir PKI --serial {serial}")).contains("revoked"));
    done("revoke --dir PKI --role operator --name ada");
    done("crl --dir PKI --days 5");
    assert!(done("list --dir PKI").contains("revoked"));
    done("site add --dir PKI --site oslo");
    let lists: serde_json::Value = serde_json::from_str(&done("crl --dir PKI --format json")).unwrap();
    assert_eq!((&lists["file"], &lists["sites"][0]["site"]), (&"PKI/crl.pem".into(), &"oslo".into()));
    std::fs::remove_file(dir.path().join("PKI/site/oslo/issuer.key")).unwrap();
    let text = done("crl --dir PKI");
    assert!(
        text.contains("wrote PKI/crl.pem") && text.contains("site oslo is not renewed: no key here"),
        "{text}"
    );
    let added: serde_json::Value =
        serde_json::from_str(&done("crl --dir PKI --add PKI/crl.pem --format json")).unwrap();
    assert_eq!((added["known"].as_u64(), added["taken"].as_u64()), (Some(2), Some(0)));
    done("root prepare --dir PKI");
    assert!(done("root prepare --dir PKI").contains("was prepared before"));
    done("root switch --dir PKI");
    assert!(done("root switch --dir PKI").contains("issues already"));
    assert!(done("root switch --dir PKI --format json").contains("\"already\": true"));
    done("root retire --dir PKI --force");
    assert!(done("root retire --dir PKI").contains("no old root"));
}

#[test]
fn wrong_usage_is_2_and_failure_is_1_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(status(&certs(dir.path(), &["init", "--dir", "PKI"])), Some(0));
    for arguments in [
        &["issue", "device", "--dir", "PKI", "--name", "a"][..],
        &["issue", "device", "--dir", "PKI", "--site", "a/b", "--name", "a"],
        &["issue", "gateway", "--dir", "PKI", "--site", "s", "--name", "g"],
        &["issue", "operator", "--dir", "PKI", "--name", "o", "--days", "0"],
        &["issue", "king", "--dir", "PKI", "--name", "o"],
        &["renew", "--dir", "PKI", "--name", "o"],
        &["revoke", "--dir", "PKI"],
        &["list", "--dir", "PKI", "--expiring", "banana"],
        &["lsit"],
        &[],
        &["sign", "--dir", "PKI", "--csr", "x", "--role", "gateway", "--site", "s", "--name", "g"],
    ] {
        // The arguments are checked before the request's file is read.
        let output = certs(dir.path(), arguments);
        assert_eq!(status(&output), Some(2), "{arguments:?}: {}", stderr(&output));
        assert_eq!(stderr(&output).lines().count(), 1, "{arguments:?}: {}", stderr(&output));
    }
    let message = stderr(&certs(dir.path(), &["list", "--dir", "PKI", "--expiring", "banana"]));
    assert!(
        message.contains("--expiring") && message.contains("for example") && message.contains("30d"),
        "{message}"
    );
    for (arguments, expected) in [
        (&["init", "--dir", "PKI"][..], "ca.pem"),
        (&["issue", "operator", "--dir", "NONE", "--name", "o"], "init --dir NONE"),
        (&["issue", "operator", "--dir", "PKI", "--name", "o", "--days", "5000"], "--days"),
        (&["issue", "device", "--dir", "PKI", "--from", "none.csv"], "none.csv"),
        (&["inspect", "nothing.pem"], "nothing.pem"),
        (&["revoke", "--dir", "PKI", "--serial", "ab"], "ledger.jsonl"),
        (&["renew", "--dir", "PKI", "--site", "s", "--name", "d"], "cert.pem"),
    ] {
        let output = certs(dir.path(), arguments);
        assert_eq!(status(&output), Some(1), "{arguments:?}");
        let message = stderr(&output);
        assert!(message.lines().count() == 1 && message.contains(expected), "{arguments:?}: {message}");
    }
    for arguments in [&["--help"][..], &["--version"], &["issue", "device", "--help"]] {
        assert_eq!(status(&certs(dir.path(), arguments)), Some(0));
    }
}

#[test]
fn concurrent_processes_share_one_ledger() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(status(&certs(dir.path(), &["init", "--dir", "PKI"])), Some(0));
    let children: Vec<_> = (0..4)
        .map(|process| {
            let file = dir.path().join(format!("{process}.csv"));
            // Every process has its own rows, and ten that all processes share.
            let rows: String = (0..20).map(|i| format!("s,d-{process}-{i}\n")).collect();
            let shared: String = (0..10).map(|i| format!("s,all-{i}\n")).collect();
            std::fs::write(&file, format!("site,name\n{shared}{rows}")).unwrap();
            Command::new(env!("CARGO_BIN_EXE_catchment-certs"))
                .args(["issue", "device", "--dir", "PKI", "--from"])
                .arg(&file)
                .current_dir(dir.path())
                .stdout(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    for mut child in children {
        assert!(child.wait().unwrap().success());
    }
    let listed = certs(dir.path(), &["list", "--dir", "PKI", "--format", "json"]);
    let rows: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(rows.as_array().unwrap().len(), 4 * 20 + 10);
}

#[test]
fn a_site_and_an_encrypted_root_by_commands() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &str| certs(dir.path(), &arguments.split(' ').collect::<Vec<_>>());
    let done = |arguments: &str| {
        let output = run(arguments);
        assert_eq!(status(&output), Some(0), "{arguments}: {}", stderr(&output));
        stdout(&output)
    };
    let secret = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    };
    secret("root.txt", "correct horse\n");
    secret("berlin.txt", "another horse\n");
    assert_eq!(status(&run("init --dir PKI --passphrase-file root.txt")), Some(2));
    let init = done("init --dir PKI --key p384 --encrypt --passphrase-file root.txt");
    assert!(init.contains("passphrase") && !init.contains("horse"), "{init}");
    done(
        "site add --dir PKI --site berlin --encrypt --passphrase-file root.txt --new-passphrase-file berlin.txt",
    );
    done("site add --dir PKI --site hamburg --passphrase-file root.txt");
    let listed: serde_json::Value = serde_json::from_str(&done("site list --dir PKI --format json")).unwrap();
    assert_eq!((&listed[0]["key"], &listed[1]["key"]), (&"encrypted".into(), &"plain".into()));

    // The site's passphrase is enough for the site, and the root is not asked.
    done("issue device --dir PKI --site berlin --name a --passphrase-file berlin.txt");
    std::fs::write(dir.path().join("devices.csv"), "site,name\nhamburg,a\nhamburg,b\n").unwrap();
    assert!(done("issue device --dir PKI --from devices.csv").contains("issued 2"));
    done("issue gateway --dir PKI/site/hamburg --site hamburg --name gw --host localhost --key p384");
    assert!(dir.path().join("PKI/site/hamburg/gateway/gw/cert.pem").is_file());
    let refused = run("issue operator --dir PKI/site/hamburg --name ada");
    assert_eq!(status(&refused), Some(2));
    assert!(stderr(&refused).contains("site hamburg only"), "{}", stderr(&refused));
    let refused = run("issue operator --dir PKI --name ada");
    assert_eq!(status(&refused), Some(1));
    assert!(stderr(&refused).contains("--passphrase-file"), "{}", stderr(&refused));
    let refused = run("issue operator --dir PKI --name ada --passphrase-file berlin.txt");
    assert!(stderr(&refused).contains("passphrase is wrong"), "{}", stderr(&refused));
    std::fs::set_permissions(
        dir.path().join("root.txt"),
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    let refused = run("issue operator --dir PKI --name ada --passphrase-file root.txt");
    assert!(stderr(&refused).contains("chmod 600 root.txt"), "{}", stderr(&refused));

    let by_environment = Command::new(env!("CARGO_BIN_EXE_catchment-certs"))
        .args(["issue", "operator", "--dir", "PKI", "--name", "ada"])
        .env("CATCHMENT_CERTS_PASSPHRASE", "correct horse")
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert_eq!(status(&by_environment), Some(0), "{}", stderr(&by_environment));
    done("export PKI/operator/ada --pkcs12 ada.p12 --passphrase-file berlin.txt");
    done("revoke --dir PKI --role device --site hamburg --name b");
    done("crl --dir PKI --site hamburg --days 3");
    let rows: serde_json::Value =
        serde_json::from_str(&done("list --dir PKI --site hamburg --format json")).unwrap();
    let revoked = rows.as_array().unwrap().iter().filter(|row| row["status"] == "revoked").count();
    assert_eq!((rows.as_array().unwrap().len(), revoked), (3, 1));
    assert_eq!(status(&run("revoke --dir PKI --issuer")), Some(2));
    assert_eq!(status(&run("site renew --dir PKI --site hamburg --encrypt")), Some(2));
}

#[test]
fn a_killed_run_leaves_one_valid_certificate_a_row() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(status(&certs(dir.path(), &["init", "--dir", "PKI"])), Some(0));
    let rows: String = (0..600).map(|i| format!("s-{},d-{i}\n", i % 2)).collect();
    std::fs::write(dir.path().join("devices.csv"), format!("site,name\n{rows}")).unwrap();
    let issue = ["issue", "device", "--dir", "PKI", "--from", "devices.csv"];
    let ledger = dir.path().join("PKI/ledger.jsonl");
    let lines = || std::fs::read_to_string(&ledger).unwrap().lines().count();
    // Killed before the ledger has the first group, and right after.
    for at_lines in [0, 500] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_catchment-certs"))
            .args(issue)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        while child.try_wait().unwrap().is_none() {
            let staged = dir.path().join("PKI/site/s-0").exists();
            if staged && lines() >= at_lines {
                child.kill().unwrap();
            }
            std::thread::yield_now();
        }
    }
    assert_eq!(status(&certs(dir.path(), &issue)), Some(0));
    let listed = certs(dir.path(), &["list", "--dir", "PKI", "--format", "json"]);
    let rows: Vec<serde_json::Value> = serde_json::from_slice(&listed.stdout).unwrap();
    let valid: Vec<_> = rows.iter().filter(|row| row["status"] == "valid").collect();
    assert_eq!((rows.len(), valid.len()), (600, 600));
    for row in rows {
        let of =
            format!("PKI/site/{}/device/{}", row["site"].as_str().unwrap(), row["name"].as_str().unwrap());
        let entries = std::fs::read_dir(dir.path().join(of)).unwrap();
        assert_eq!(entries.count(), 4);
    }
}

#[test]
fn every_command_prints_json() {
    let dir = tempfile::tempdir().unwrap();
    let run = |arguments: &str, expected: i32| {
        let words: Vec<_> = arguments.split(' ').chain(["--format", "json"]).collect();
        let output = certs(dir.path(), &words);
        assert_eq!(status(&output), Some(expected), "{arguments}: {}", stderr(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    assert_eq!(run("init --dir PKI --trust-domain example.org", 0)["trust_domain"], "example.org");
    assert_eq!(run("issue operator --dir PKI --name ada", 0)["action"], "issued");
    let issued = run("issue device --dir PKI --site berlin --name a --days 20", 0);
    assert_eq!((&issued["role"], &issued["dir"]), (&"device".into(), &"PKI/site/berlin/device/a".into()));
    std::fs::write(dir.path().join("devices.csv"), "site,name,days\nberlin,a,\nberlin,b,10\n").unwrap();
    let many = run("issue device --dir PKI --from devices.csv", 0);
    assert_eq!((&many["issued"], &many["skipped"]), (&1.into(), &1.into()));
    assert_eq!(run("list --dir PKI --expiring 30d", 0).as_array().unwrap().len(), 2);
    let renewed = run("renew --dir PKI --all --expiring 30d", 0);
    assert_eq!((&renewed["renewed"][0]["name"], &renewed["failed"]), (&"a".into(), &serde_json::json!([])));
    assert_eq!(run("renew --dir PKI --role operator --name ada", 0)["action"], "renewed");
    assert_eq!(run("inspect PKI/site/berlin/device/a", 0)[0]["trust_domain"], "example.org");
    assert_eq!(run("crl --dir PKI", 0)["number"], 2);
    let revoked =
        run("revoke --dir PKI --role device --site berlin --name b nobody --reason keyCompromise", 1);
    assert_eq!(revoked["revoked"].as_array().unwrap().len(), 2);
    assert_eq!((&revoked["unknown"], &revoked["lists"][0]["number"]), (&1.into(), &3.into()));
    assert_eq!(run("inspect PKI/crl.pem", 0)[0]["certificates"][0]["reason"], "keyCompromise");

    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/src/tests/fixtures");
    std::fs::create_dir(dir.path().join("csr")).unwrap();
    for (from, to) in [("p256.csr", "x.csr"), ("rsa-1024.csr", "y.csr")] {
        std::fs::copy(format!("{fixtures}/{from}"), dir.path().join("csr").join(to)).unwrap();
    }
    let signed = run("sign --dir PKI --csr-dir csr --site paris", 1);
    assert_eq!(signed["signed"][0]["dir"], "PKI/site/paris/device/x");
    assert!(signed["refused"][0]["error"].as_str().unwrap().contains("RSA 1024"), "{signed}");
}

#[test]
fn commands_of_the_hierarchy_print_json() {
    let dir = tempfile::tempdir().unwrap();
    let secret = dir.path().join("secret.txt");
    std::fs::write(&secret, "correct horse\n").unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let run = |arguments: &str| {
        let words: Vec<_> = arguments.split(' ').chain(["--format", "json"]).collect();
        let output = certs(dir.path(), &words);
        assert_eq!(status(&output), Some(0), "{arguments}: {}", stderr(&output));
        serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap()
    };
    let pass = "--passphrase-file secret.txt";
    assert_eq!(run(&format!("init --dir PKI --encrypt {pass}"))["encrypted"], true);
    for site in ["berlin", "paris"] {
        let made = run(&format!("site add --dir PKI --site {site} {pass}"));
        assert_eq!((&made["action"], &made["site"]), (&"made".into(), &site.into()));
    }
    assert_eq!(run(&format!("site renew --dir PKI --site paris {pass}"))["action"], "renewed");
    assert_eq!(run("site list --dir PKI").as_array().unwrap().len(), 2);
    // Sites with keys of their own need no passphrase of the root.
    std::fs::write(dir.path().join("devices.csv"), "site,name,days\nparis,a,9\nberlin,a,9\nparis,b,\n")
        .unwrap();
    assert_eq!(run("issue device --dir PKI --from devices.csv --key p384")["issued"], 3);
    let inspected = run("inspect PKI/site/paris/device/a");
    assert_eq!((inspected.as_array().unwrap().len(), &inspected[0]["key"]), (2, &"ECDSA P-384".into()));
    let renewed = run("renew --dir PKI --all --expiring 30d --key p256");
    assert_eq!(
        (renewed["renewed"].as_array().unwrap().len(), &renewed["failed"]),
        (2, &serde_json::json!([]))
    );
    assert_eq!(run("inspect PKI/site/berlin/device/a")[0]["key"], "ECDSA P-256");
    std::fs::write(dir.path().join("stolen.csv"), "site,name\nparis,b\nberlin,a\n").unwrap();
    let revoked = run("revoke --dir PKI --from stolen.csv --reason keyCompromise");
    assert_eq!(revoked["revoked"].as_array().unwrap().len(), 3);
    assert_eq!((revoked["lists"].as_array().unwrap().len(), &revoked["unknown"]), (2, &0.into()));
    // The centre's crl.pem has the lists of both, with their reasons.
    let blocks = run("inspect PKI/crl.pem");
    let reasons = blocks.as_array().unwrap().iter().flat_map(|block| block["certificates"].as_array());
    let reasons: Vec<_> = reasons.flatten().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["keyCompromise"; 3]);
    assert_eq!(run("crl --dir PKI --add PKI/site/paris/crl.pem")["added"], 0);
    run(&format!("issue operator --dir PKI --name ada {pass}"));
    assert_eq!(run(&format!("export PKI/operator/ada --pkcs12 ada.p12 {pass}"))["name"], "ada");
    assert_eq!(run(&format!("encrypt-key --dir PKI --site paris {pass}"))["action"], "encrypted");
    assert_eq!(run("anchors add PKI/ca.pem --dir PKI")["roots"], 1);
    assert_eq!(run(&format!("root prepare --dir PKI {pass}"))["roots"], 2);
    assert_eq!(run(&format!("root switch --dir PKI {pass}"))["action"], "switched");
    assert_eq!(run(&format!("root retire --dir PKI --force {pass}"))["roots"], 1);
}
