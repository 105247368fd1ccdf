//! No private key and no token is left in the memory of an agent at rest: every page that it can write is read from outside and
//! searched, after a bootstrap, after a renewal, and after the test of the bootstrap credential.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use eyewall_core::cert::bundle;
use tests::apiserver::{ApiServer, ApprovalMode, Options, Token};
use tests::node::Node;

const SOON: Duration = Duration::from_secs(10);
/// From the last byte of a connection to rest: the tasks of a connection end in the turns of the loop that follow.
const SETTLED: Duration = Duration::from_millis(500);
const TOKEN: &str = "plantd.5ecre75ecre75ecr";
/// Read in one go.
const CHUNK: usize = 1 << 20;

/// Something to look for, and what it is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Needle {
    name: String,
    bytes: Vec<u8>,
}

fn needle(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Needle {
    Needle { name: name.into(), bytes: bytes.into() }
}

/// Each form in which a private key of P-256 may lie about: the lines of its PEM, its scalar as it stands in the DER, the same with
/// its bytes the other way round (as limbs of a little-endian machine), and those in Montgomery form, as ring holds it to sign.
fn key_needles(name: &str, pem: &str) -> Result<Vec<Needle>> {
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let mut needles: Vec<Needle> =
        lines.iter().enumerate().map(|(index, line)| needle(format!("{name}: line {index} of its PEM"), *line)).collect();
    let der = STANDARD.decode(lines.concat())?;
    // RFC 5915 in RFC 5958: the first OCTET STRING of 32 bytes is the scalar.
    let at = der.windows(2).position(|pair| pair == [0x04, 0x20]).context("a scalar of 32 bytes")? + 2;
    let scalar: [u8; 32] = der.get(at..at + 32).context("the whole of it")?.try_into()?;
    let mut reversed = scalar;
    reversed.reverse();
    needles.push(needle(format!("{name}: scalar"), scalar));
    needles.push(needle(format!("{name}: scalar, reversed"), reversed));
    needles.push(needle(format!("{name}: scalar, as ring holds it"), montgomery(scalar)));
    Ok(needles)
}

/// The order of P-256 (SEC 2), big-endian.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad,
    0xa7, 0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

/// `scalar * 2^256 mod ORDER`, little-endian: 256 doublings.
fn montgomery(scalar: [u8; 32]) -> [u8; 32] {
    let mut number = scalar;
    for _ in 0..256 {
        let mut carry = 0;
        for byte in number.iter_mut().rev() {
            let doubled = u16::from(*byte) << 1 | carry;
            (*byte, carry) = ((doubled & 0xff) as u8, doubled >> 8);
        }
        if carry == 1 || number >= ORDER {
            let mut borrow = 0;
            for (byte, order) in number.iter_mut().zip(ORDER).rev() {
                let taken = i16::from(*byte) - i16::from(order) - borrow;
                (*byte, borrow) = (taken.rem_euclid(256) as u8, i16::from(taken < 0));
            }
        }
    }
    number.reverse();
    number
}

/// Which of `needles` lie in the memory of the process, and where the first of each is.
fn found(pid: u32, needles: &[Needle]) -> Result<BTreeSet<String>> {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps"))?;
    let memory = std::fs::File::open(format!("/proc/{pid}/mem"))?;
    let longest = needles.iter().map(|needle| needle.bytes.len()).max().unwrap_or(0);
    let mut found = BTreeSet::new();
    let mut searched = 0;
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        let (Some(range), Some(mode)) = (words.next(), words.next()) else { continue };
        let name = words.nth(3).unwrap_or("unnamed");
        let (from, to) = range.split_once('-').context("a range")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        if !mode.starts_with("rw") {
            continue;
        }
        let mut at = from;
        while at < to {
            let size = usize::try_from(to - at)?.min(CHUNK + longest);
            let mut bytes = vec![0; size];
            memory.read_exact_at(&mut bytes, at).with_context(|| format!("{line} cannot be read"))?;
            searched += size.min(CHUNK);
            for Needle { name: what, bytes: wanted } in needles {
                if bytes.windows(wanted.len()).any(|window| window == wanted) {
                    found.insert(format!("{what} in {name}"));
                }
            }
            at += CHUNK as u64;
        }
    }
    ensure!(searched > CHUNK, "only {searched} bytes were searched");
    Ok(found)
}

fn in_force(node: &Node) -> Result<String> {
    let key = bundle(&std::fs::read_to_string(node.current())?)?.key.context("a key")?;
    Ok(key.expose().to_owned())
}

fn token() -> Vec<Needle> {
    let (id, secret) = TOKEN.split_once('.').expect("a token");
    vec![needle("the token's secret", secret), needle("the token", format!("{id}.{secret}"))]
}

async fn cluster() -> Result<(ApiServer, Node)> {
    let api = ApiServer::start(Options { tokens: vec![Token::new(TOKEN)], ..Options::default() }).await?;
    let node = Node::new("node-a")?;
    node.give_kubeconfig(&api.bootstrap_kubeconfig())?;
    Ok((api, node))
}

#[tokio::test]
async fn at_rest_there_is_no_key_and_no_token() -> Result<()> {
    let (_api, mut node) = cluster().await?;
    node.start()?;
    let is_at_rest = |status: &eyewall_core::status::Status| {
        status.certificates.state.as_str() == "valid" && status.certificates.recovery.is_some()
    };
    let first = node.wait(SOON, is_at_rest).await?;
    let pid = node.pid().context("it runs")?;
    tokio::time::sleep(SETTLED).await;
    let mut needles = token();
    needles.extend(key_needles("the first key", &in_force(&node)?)?);
    // The control: what is known to be there is found.
    let serial = first.certificates.current.as_ref().context("a certificate")?.serial.clone();
    let known = found(pid, &[needle("the serial", serial)])?;
    assert!(!known.is_empty(), "the search finds nothing");
    assert_eq!(found(pid, &needles)?, BTreeSet::new(), "after the bootstrap");
    let renew = node.command(&["certificates", "renew"])?.output().await?;
    assert!(renew.status.success(), "{}", String::from_utf8_lossy(&renew.stderr));
    node.wait(SOON, |status| status.certificates.current != first.certificates.current && is_at_rest(status)).await?;
    tokio::time::sleep(SETTLED).await;
    needles.extend(key_needles("the second key", &in_force(&node)?)?);
    assert_eq!(found(pid, &needles)?, BTreeSet::new(), "after the renewal");
    Ok(())
}

/// The control of the test above, and what cannot be otherwise: while a connection is open, the key or the token that it was opened
/// with is in memory, and while a request is waited for, so is its key.
#[tokio::test]
async fn while_they_are_in_use_they_are_found() -> Result<()> {
    let (api, mut node) = cluster().await?;
    api.set_approval(ApprovalMode::Manual);
    node.start()?;
    node.wait_for(SOON, "pending-approval", "request-sent").await?;
    let pid = node.pid().context("it runs")?;
    let request = std::fs::read_to_string(node.pki().join("kubelet-client-request.pem"))?;
    let (key, _) = request.split_once("-----BEGIN CERTIFICATE REQUEST").context("key and request")?;
    let mut needles = token();
    needles.extend(key_needles("the key", key)?);
    let there = found(pid, &needles)?;
    for wanted in ["the token in [heap]", "the key: line 0 of its PEM in [heap]"] {
        assert!(there.contains(wanted), "{wanted}: {there:?}");
    }
    println!("in use: {there:#?}");
    Ok(())
}

#[test]
fn the_montgomery_form_of_one_is_what_is_left_of_the_order() {
    // 2^256 mod n = 2^256 - n, since n is more than half of it: 00000000ffffffff00000000000000004319055258e8617b0c46353d039cdaaf.
    let mut one = [0; 32];
    one[31] = 1;
    let hex = montgomery(one).iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex, "00000000ffffffff00000000000000004319055258e8617b0c46353d039cdaaf");
}
