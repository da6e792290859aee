use super::*;

fn named(v: Value, c: Collation) -> Name {
    key_name([(&v, c)])
}
fn text(s: &str) -> Value {
    Value::Text(s.into())
}

#[test]
fn what_sqlite_calls_equal_has_one_name() {
    assert_eq!(named(Value::Integer(1), Collation::Binary), named(Value::Real(1.0), Collation::Binary));
    assert_eq!(named(Value::Integer(0), Collation::Binary), named(Value::Real(-0.0), Collation::Binary));
    assert_eq!(
        named(Value::Integer(i64::MIN), Collation::Binary),
        named(Value::Real(i64::MIN as f64), Collation::Binary)
    );
    assert_eq!(named(text("a"), Collation::NoCase), named(text("A"), Collation::NoCase));
    assert_eq!(named(text("a  "), Collation::RTrim), named(text("a"), Collation::RTrim));
}

#[test]
fn what_sqlite_tells_apart_has_two_names() {
    assert_ne!(named(text("1"), Collation::Binary), named(Value::Integer(1), Collation::Binary));
    assert_ne!(named(text("a"), Collation::Binary), named(Value::Blob(b"a".to_vec()), Collation::Binary));
    assert_ne!(named(text("ä"), Collation::NoCase), named(text("Ä"), Collation::NoCase));
    assert_ne!(named(Value::Real(9.3e18), Collation::Binary), named(Value::Integer(i64::MAX), Collation::Binary));
    let ab_c = key_name([(&text("ab"), Collation::Binary), (&text("c"), Collation::Binary)]);
    let a_bc = key_name([(&text("a"), Collation::Binary), (&text("bc"), Collation::Binary)]);
    assert_ne!(ab_c, a_bc);
}

#[test]
fn a_long_key_is_named_by_its_hash() {
    let below = named(Value::Blob(vec![7; limit::NAME_BYTES_MAX - 3]), Collation::Binary);
    let above = named(Value::Blob(vec![7; limit::NAME_BYTES_MAX]), Collation::Binary);
    assert!(matches!(below, Name::Key(k) if k.len() == limit::NAME_BYTES_MAX));
    assert!(matches!(above, Name::Key(k) if k.len() == 33));
}
