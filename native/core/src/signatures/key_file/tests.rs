use super::*;

/// A test key that protects nothing: the bytes 1 to 32.
fn secret() -> Vec<u8> {
    (1..=32).collect()
}

fn key(scheme: Scheme) -> SigningKey {
    SigningKey::from_secret(scheme, &secret()).unwrap()
}

fn tlv(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let value = parts.concat();
    let length = u8::try_from(value.len()).unwrap();
    let head = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
    [head, value].concat()
}

fn oid(scheme: Scheme) -> Vec<u8> {
    hex::decode(match scheme {
        Scheme::Ed25519 => "06032b6570",
        Scheme::Secp256k1 => "06052b8104000a",
        Scheme::Prime256v1 => "06082a8648ce3d030107",
    })
    .unwrap()
}

/// SEC1, with or without the name of the curve and the public key.
fn sec1(scheme: Scheme, named: bool, public_key: Option<&[u8]>) -> Vec<u8> {
    let curve = if named { tlv(0xa0, &[&oid(scheme)]) } else { Vec::new() };
    let public_key = public_key.map_or_else(Vec::new, |point| tlv(0xa1, &[&tlv(0x03, &[&[0], point])]));
    tlv(0x30, &[&[2, 1, 1], &tlv(4, &[&secret()]), &curve, &public_key])
}

/// PKCS#8 around the key's own encoding, with fields after it.
fn pkcs8(scheme: Scheme, version: u8, inner: &[u8], after: &[u8]) -> Vec<u8> {
    let algorithm = match scheme {
        Scheme::Ed25519 => tlv(0x30, &[&oid(scheme)]),
        _ => tlv(0x30, &[&hex::decode("06072a8648ce3d0201").unwrap(), &oid(scheme)]),
    };
    tlv(0x30, &[&[2, 1, version], &algorithm, &tlv(4, &[inner]), after])
}

fn inner(scheme: Scheme) -> Vec<u8> {
    match scheme {
        Scheme::Ed25519 => tlv(4, &[&secret()]),
        _ => sec1(scheme, false, None),
    }
}

fn same(der: &[u8], scheme: Scheme) -> bool {
    let found = from_der(der).unwrap_or_else(|error| panic!("{error} {}", hex::encode(der)));
    found.scheme() == scheme && found.public_key() == key(scheme).public_key()
}

fn problem(result: Result<SigningKey>) -> String {
    match result {
        Err(Error::KeyUnusable(problem)) => problem,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was read"),
    }
}

#[test]
fn what_is_written_reads() {
    for scheme in Scheme::ALL {
        let pem = to_pem(&key(scheme)).unwrap();
        assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----\n"));
        assert_eq!(from_pem(pem.as_bytes()).unwrap().public_key(), key(scheme).public_key());
        assert!(same(&key(scheme).to_pkcs8().unwrap(), scheme));
    }
}

#[test]
fn every_form_reads() {
    for scheme in Scheme::ALL {
        let public = key(scheme).raw_public_key();
        assert!(same(&pkcs8(scheme, 0, &inner(scheme), &[]), scheme));
        let attributes = tlv(0xa0, &[]);
        assert!(same(&pkcs8(scheme, 0, &inner(scheme), &attributes), scheme));
        let implicit = tlv(0x81, &[&[0], &public]);
        let explicit = tlv(0xa1, &[&tlv(0x03, &[&[0], &public])]);
        for attached in [implicit, explicit] {
            assert!(same(&pkcs8(scheme, 1, &inner(scheme), &attached), scheme));
        }
    }
    for scheme in [Scheme::Secp256k1, Scheme::Prime256v1] {
        let public = key(scheme).raw_public_key();
        let compressed = [&[2 + (public[64] & 1)], &public[1..33]].concat();
        for point in [None, Some(&public[..]), Some(&compressed)] {
            assert!(same(&sec1(scheme, true, point), scheme));
            assert!(same(&pkcs8(scheme, 0, &sec1(scheme, true, point), &[]), scheme));
        }
    }
}

#[test]
fn a_public_half_of_another_key_is_refused() {
    for scheme in Scheme::ALL {
        let mut public = key(scheme).raw_public_key();
        public[1] ^= 1;
        for attached in [tlv(0x81, &[&[0], &public]), tlv(0xa1, &[&tlv(0x03, &[&[0], &public])])] {
            let verdict = problem(from_der(&pkcs8(scheme, 1, &inner(scheme), &attached)));
            assert!(verdict.contains("does not belong"), "{verdict}");
        }
        if scheme != Scheme::Ed25519 {
            assert!(problem(from_der(&sec1(scheme, true, Some(&public)))).contains("does not belong"));
            let other_sign = [&[2 + (1 ^ public[64] & 1)], &key(scheme).raw_public_key()[1..33]].concat();
            assert!(problem(from_der(&sec1(scheme, true, Some(&other_sign)))).contains("does not belong"));
        }
    }
}

#[test]
fn what_cannot_be_used_says_why() {
    let curve = Scheme::Prime256v1;
    assert!(problem(from_der(&sec1(curve, false, None))).contains("does not name its curve"));
    let p384 = tlv(0x30, &[&[2, 1, 1], &tlv(4, &[&secret()]), &tlv(0xa0, &[&[6, 5, 0x2b, 0x81, 4, 0, 0x22]])]);
    assert!(problem(from_der(&p384)).contains("1.3.132.0.34"));
    let short = tlv(0x30, &[&[2, 1, 1], &tlv(4, &[&secret()[1..]]), &tlv(0xa0, &[&oid(curve)])]);
    assert!(problem(from_der(&short)).contains("31 bytes"));
    let rsa = tlv(0x30, &[&[2, 1, 0], &hex::decode("300d06092a864886f70d0101010500").unwrap(), &tlv(4, &[&[0]])]);
    assert!(problem(from_der(&rsa)).contains("1.2.840.113549.1.1.1"));
    let encrypted = tlv(0x30, &[&hex::decode("300b06092a864886f70d01050d").unwrap(), &tlv(4, &[&[0; 48]])]);
    assert!(problem(from_der(&encrypted)).contains("encrypted"));
    for garbage in [&[][..], &[0x30], b"hello", &[0x30, 0x80, 0, 0]] {
        assert!(problem(from_der(garbage)).contains("neither PKCS#8 nor SEC1"));
    }
    let der = pkcs8(curve, 0, &inner(curve), &[]);
    assert!(problem(from_der(&[&der[..], &[0]].concat())).contains("neither"));
}

#[test]
fn no_cut_or_flip_of_a_file_is_another_key() {
    for scheme in Scheme::ALL {
        let public = key(scheme).raw_public_key();
        let der = pkcs8(scheme, 1, &inner(scheme), &tlv(0x81, &[&[0], &public]));
        for length in 0..der.len() {
            assert!(from_der(&der[..length]).is_err());
        }
        for at in 0..der.len() {
            let mut other = der.clone();
            other[at] ^= 4;
            if let Ok(found) = from_der(&other) {
                assert_eq!(found.public_key(), key(scheme).public_key(), "{scheme:?} {at}");
            }
        }
    }
}

#[test]
fn pem_files_may_have_more_than_the_key() {
    let scheme = Scheme::Secp256k1;
    let body = pem::encode_string("EC PRIVATE KEY", LineEnding::CRLF, &sec1(scheme, true, None)).unwrap();
    let parameters = pem::encode_string("EC PARAMETERS", LineEnding::CRLF, &oid(scheme)).unwrap();
    let file = format!("Bag Attributes: none\r\n{parameters}{body}\r\n");
    assert_eq!(from_pem(file.as_bytes()).unwrap().public_key(), key(scheme).public_key());
    assert!(problem(from_pem(parameters.as_bytes())).contains("but EC PARAMETERS"));
}

#[test]
fn bad_pem_says_why() {
    let body = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n-----END EC PRIVATE KEY-----\n";
    assert!(problem(from_pem(body.as_bytes())).contains("encrypted"));
    let body = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    assert!(problem(from_pem(body.as_bytes())).contains("encrypted"));
    assert!(problem(from_pem(b"")).contains("no PEM block"));
    assert!(problem(from_pem(b"-----BEGIN PRIVATE KEY-----\nAAAA")).contains("no PEM block"));
    assert!(problem(from_pem(&[0xff])).contains("is it DER?"));
    let body = "-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n";
    assert!(problem(from_pem(body.as_bytes())).contains("broken"));
}
