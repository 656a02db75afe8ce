//! Certificates a second of `catchment-certs issue device --from`: keys, certificates, folders and the durable ledger,
//! beside keys and certificates alone.

use std::{fs, path::Path, process::Command, thread, time::Instant};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use super::{Bench, goals::at_least};
use crate::{
    process::{beside, run as run_program},
    report::{Measurement, Reference},
};

/// Devices per site.
const OF_A_SITE: usize = 1_000;

/// Certificates a second, on all cores.
pub(super) fn run(bench: &Bench) -> anyhow::Result<Measurement> {
    let rows = bench.sized(20_000, 500);
    let dir = bench.folder("certs");
    fs::create_dir_all(&dir)?;
    let file = dir.join("devices.csv");
    let lines: String = (0..rows).map(|row| format!("site-{},press-{row}\n", row / OF_A_SITE)).collect();
    fs::write(&file, format!("site,name\n{lines}"))?;
    let mut turn = 0;
    let mut ours = || {
        turn += 1;
        issue(&dir.join(format!("pki-{turn}")), &file, rows)
    };
    let (ours, reference) = bench.in_turn(&mut ours, &mut || bare(rows))?;
    Ok(Measurement {
        what: format!("certificates issued from a file of {rows} devices"),
        unit: "certificates/s",
        ours,
        reference: Reference {
            name: "keys and certificates by rcgen on all cores, nothing stored".to_owned(),
            value: Ok(reference),
        },
        goal: at_least(2_000.0, 5_000.0),
    })
}

fn issue(pki: &Path, file: &Path, rows: usize) -> anyhow::Result<f64> {
    let program = beside("catchment-certs")?;
    run_program(Command::new(&program).arg("init").arg("--dir").arg(pki))?;
    let started = Instant::now();
    run_program(Command::new(&program).args(["issue", "device", "--dir"]).arg(pki).arg("--from").arg(file))?;
    let seconds = started.elapsed().as_secs_f64();
    fs::remove_dir_all(pki)?;
    Ok(rows as f64 / seconds)
}

/// Makes as many keys and signs as many certificates.
fn bare(rows: usize) -> anyhow::Result<f64> {
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let root = CertifiedIssuer::self_signed(root, KeyPair::generate()?)?;
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let share = rows.div_ceil(threads);
    let started = Instant::now();
    thread::scope(|scope| {
        let sign = || -> Result<usize, rcgen::Error> {
            let mut bytes = 0;
            for _ in 0..share {
                let key = KeyPair::generate()?;
                bytes += CertificateParams::default().signed_by(&key, &root)?.pem().len();
                bytes += key.serialize_pem().len();
            }
            Ok(bytes)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(sign)).collect();
        for thread in running {
            let bytes = thread.join().map_err(|_| anyhow::anyhow!("a thread of the reference ended"))??;
            std::hint::black_box(bytes);
        }
        anyhow::Ok(())
    })?;
    Ok((share * threads) as f64 / started.elapsed().as_secs_f64())
}
