use super::*;

fn read(input: &[u8]) -> Result<Value<'_>> {
    decode("test", input, Budget { depth: 4, items: 64 })
}

#[test]
fn reads_what_it_writes() {
    let value = Value::Map(vec![
        (Value::Text("a"), Value::Array(vec![Value::Unsigned(u64::MAX), Value::Negative(23), Value::Null])),
        (Value::Unsigned(300), Value::Bytes(&[1, 2])),
        (Value::Negative(1), Value::Bignum(&[1, 0, 0, 0, 0, 0, 0, 0, 0])),
        (Value::Bytes(b"k"), Value::Bool(true)),
    ]);
    assert_eq!(read(&encode(&value)).unwrap(), value);
}

/// RFC 8949, section 4.2.1: around every power of two, and where the argument no longer fits into the first byte.
#[test]
fn heads_are_the_shortest() {
    let powers = (0..64).map(|bits| 1u64 << bits);
    for n in powers.chain([23, u64::MAX]).flat_map(|n| [n - 1, n, n.saturating_add(1)]) {
        let length = match n {
            0..24 => 1,
            24..0x100 => 2,
            0x100..0x1_0000 => 3,
            0x1_0000..0x1_0000_0000 => 5,
            _ => 9,
        };
        for value in [Value::Unsigned(n), Value::Negative(n)] {
            let encoded = encode(&value);
            assert_eq!((encoded.len(), read(&encoded)), (length, Ok(value)), "{n}");
        }
    }
}

#[test]
fn the_tag_is_optional_in_front_and_refused_elsewhere() {
    assert_eq!(read(&[0xd9, 0xd9, 0xf7, 0x01]).unwrap(), Value::Unsigned(1));
    assert!(read(&[0x81, 0xd9, 0xd9, 0xf7, 0x01]).is_err());
}

#[test]
fn refuses_what_is_not_strict() {
    for bad in [
        &[][..],
        &[0x01, 0x01],                                           // trailing byte
        &[0xa2, 0x61, 0x61, 1, 0x61, 0x61, 2],                   // duplicate key
        &[0xa1, 0x80, 1],                                        // array as key
        &[0x42, 1],                                              // cut short
        &[0x5b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // length beyond memory
        &[0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // count beyond memory
        &[0x61, 0xff],                                           // not UTF-8
        &[0xf9, 0x3c, 0x00],                                     // float
        &[0x5f, 0x41, 1, 0xff],                                  // indefinite-length string
        &[0xff],                                                 // break alone
        &[0x1c],                                                 // reserved
        &[0x81, 0x81, 0x81, 0x81, 0x81, 0x01],                   // too deep
        &[0xc0, 0x61, 0x61],                                     // date
    ] {
        assert!(read(bad).is_err(), "{bad:02x?}");
    }
}

#[test]
fn duplicates_are_found_in_large_maps_too() {
    let mut entries: Vec<_> = (0..20).map(|n| (Value::Unsigned(n), Value::Null)).collect();
    assert!(read(&encode(&Value::Map(entries.clone()))).is_ok());
    entries.push((Value::Unsigned(7), Value::Null));
    assert!(read(&encode(&Value::Map(entries))).is_err());
}

#[test]
fn items_are_counted() {
    assert!(read(&[&[0x98, 63][..], &[0; 63]].concat()).is_ok());
    assert!(read(&[&[0x98, 64][..], &[0; 64]].concat()).is_err());
}

#[test]
fn indefinite_lengths_of_arrays_and_maps_are_read() {
    assert_eq!(read(&[0x9f, 0x01, 0xff]).unwrap(), Value::Array(vec![Value::Unsigned(1)]));
    assert_eq!(
        read(&[0xbf, 0x61, 0x61, 0x01, 0xff]).unwrap(),
        Value::Map(vec![(Value::Text("a"), Value::Unsigned(1))])
    );
}

#[test]
fn an_entry_can_be_had_as_received() {
    let input = [0xd9, 0xd9, 0xf7, 0xa2, 0x61, 0x61, 0x18, 0x01, 0x61, 0x62, 0x41, 0x07];
    let budget = Budget::REQUEST;
    assert_eq!(raw_entry("test", &input, "a", budget), Ok(Some((Value::Unsigned(1), &[0x18, 0x01][..]))));
    assert_eq!(raw_entry("test", &input, "b", budget), Ok(Some((Value::Bytes(&[7]), &[0x41, 0x07][..]))));
    assert_eq!(raw_entry("test", &input, "c", budget), Ok(None));
    for bad in [&input[..11], &[0x01], &[0xa2, 0x61, 0x61, 1, 0x61, 0x61, 2], &[0xa1, 0x61, 0x61, 1, 0]] {
        assert!(raw_entry("test", bad, "a", budget).is_err(), "{bad:02x?}");
    }
}

#[test]
fn numbers_of_both_forms() {
    assert_eq!(Value::Bignum(&[0, 0, 1, 0]).as_u64(), Some(256));
    assert_eq!(Value::Bignum(&[1; 9]).as_u64(), None);
    assert_eq!(Value::Unsigned(5).as_u64(), Some(5));
    assert_eq!(Value::Text("5").as_u64(), None);
}

/// Every way to nest up to six arrays and maps, of definite and indefinite length: four may be entered.
#[test]
fn every_container_counts_as_one_level() {
    for count in 0..=6u32 {
        for number in 0..4usize.pow(count) {
            let mut input = vec![1];
            for at in 0..count {
                input = match number / 4usize.pow(at) % 4 {
                    0 => [&[0x81][..], &input].concat(),
                    1 => [&[0x9f][..], &input, &[0xff]].concat(),
                    2 => [&[0xa1, 0][..], &input].concat(),
                    _ => [&[0xbf, 0][..], &input, &[0xff]].concat(),
                };
            }
            assert_eq!(read(&input).is_ok(), count <= 4, "{input:02x?}");
            let entry = [&[0xa1, 0x61, b'k'][..], &input].concat();
            let found = raw_entry("test", &entry, "k", Budget { depth: 4, items: 64 });
            assert_eq!(found.is_ok(), count <= 4, "{entry:02x?}");
        }
    }
}

#[test]
fn keys_values_and_elements_count_as_items() {
    let budget = |items| Budget { depth: 4, items };
    for (input, items) in [
        (&[1][..], 1),
        (&[0x80], 1),
        (&[0x82, 1, 1], 3),
        (&[0xa1, 1, 1], 3),
        (&[0xbf, 1, 1, 2, 2, 0xff], 5),
        (&[0x81, 0xa1, 1, 0x81, 0xf6], 5),
        (&[0xc2, 0x41, 1], 1),
    ] {
        assert!(decode("test", input, budget(items)).is_ok(), "{input:02x?}");
        assert!(decode("test", input, budget(items - 1)).is_err(), "{input:02x?}");
    }
}
