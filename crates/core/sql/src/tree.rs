//! The parse tree as plain data: every node with its kind and all its fields.
//!
//! PostgreSQL's tree has hundreds of typed nodes; a walk written over the types can forget a field, and what is forgotten is let through.
//! So the typed tree is turned into this one by its own serialization, which visits everything by construction. Nothing is interpreted here.

use serde::ser::{self, Serialize};

/// A value in the tree.
#[derive(Debug, PartialEq)]
pub(crate) enum Tree {
    Nothing,
    Bool(bool),
    Number(i64),
    Text(String),
    List(Vec<Tree>),
    Node(Node),
}

/// A node: its kind (the name PostgreSQL gives it, in Rust spelling) and its fields in order.
#[derive(Debug, PartialEq)]
pub(crate) struct Node {
    pub kind: &'static str,
    pub fields: Vec<(&'static str, Tree)>,
}

impl Node {
    /// The value of a field; `Nothing` if there is no such field.
    pub fn field(&self, name: &str) -> &Tree {
        self.fields.iter().find(|(field, _)| *field == name).map_or(&Tree::Nothing, |(_, value)| value)
    }

    /// The node in a field.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.field(name).as_node()
    }

    /// The text in a field, empty if there is none.
    pub fn text(&self, name: &str) -> &str {
        if let Tree::Text(text) = self.field(name) { text } else { "" }
    }

    /// True if the field is a true flag.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.field(name), Tree::Bool(true))
    }

    /// The number in a field (enumerations are numbers), 0 if there is none.
    pub fn number(&self, name: &str) -> i64 {
        if let Tree::Number(number) = self.field(name) { *number } else { 0 }
    }

    /// The list in a field, empty if there is none.
    pub fn list(&self, name: &str) -> &[Tree] {
        self.field(name).as_list()
    }

    /// The parts of a dotted name in a field: a list of `String` nodes, a `TypeName`'s or an `ObjectWithArgs`' name.
    pub fn name_parts(&self, name: &str) -> Vec<&str> {
        self.field(name).name_parts()
    }
}

impl Tree {
    pub fn as_node(&self) -> Option<&Node> {
        if let Self::Node(node) = self { Some(node) } else { None }
    }

    pub fn as_list(&self) -> &[Tree] {
        if let Self::List(items) = self { items } else { &[] }
    }

    pub fn is_nothing(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::List(items) => items.is_empty(),
            _ => false,
        }
    }

    /// The parts of a dotted name; see [`Node::name_parts`].
    pub fn name_parts(&self) -> Vec<&str> {
        match self {
            Self::Node(node) => match node.kind {
                "String" => vec![node.text("sval")],
                "List" => node.name_parts("items"),
                "TypeName" => node.name_parts("names"),
                "ObjectWithArgs" => node.name_parts("objname"),
                _ => Vec::new(),
            },
            Self::List(items) => items.iter().flat_map(Tree::name_parts).collect(),
            _ => Vec::new(),
        }
    }

    /// Turns a typed tree into plain data.
    pub fn from_typed(value: &impl Serialize) -> Result<Self, Unsupported> {
        value.serialize(Builder)
    }
}

/// Something in the typed tree has no place in this one.
#[derive(Debug, thiserror::Error)]
#[error("the parse tree holds something unexpected: {0}")]
pub(crate) struct Unsupported(String);

impl ser::Error for Unsupported {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

struct Builder;

macro_rules! numbers {
    ($($method:ident: $type:ty),*) => { $(
        fn $method(self, value: $type) -> Result<Tree, Unsupported> {
            i64::try_from(value).map(Tree::Number).map_err(|_| Unsupported("a number beyond 64 bits".into()))
        }
    )* };
}

impl ser::Serializer for Builder {
    type Ok = Tree;
    type Error = Unsupported;
    type SerializeSeq = Items;
    type SerializeTuple = Items;
    type SerializeTupleStruct = ser::Impossible<Tree, Unsupported>;
    type SerializeTupleVariant = ser::Impossible<Tree, Unsupported>;
    type SerializeMap = ser::Impossible<Tree, Unsupported>;
    type SerializeStruct = Fields;
    type SerializeStructVariant = ser::Impossible<Tree, Unsupported>;

    numbers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64);
    numbers!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_bool(self, value: bool) -> Result<Tree, Unsupported> {
        Ok(Tree::Bool(value))
    }
    /// Floating point is only in planner estimates, which a raw parse does not fill.
    fn serialize_f32(self, _: f32) -> Result<Tree, Unsupported> {
        Ok(Tree::Nothing)
    }
    fn serialize_f64(self, _: f64) -> Result<Tree, Unsupported> {
        Ok(Tree::Nothing)
    }
    fn serialize_char(self, value: char) -> Result<Tree, Unsupported> {
        Ok(Tree::Text(value.to_string()))
    }
    fn serialize_str(self, value: &str) -> Result<Tree, Unsupported> {
        Ok(Tree::Text(value.to_owned()))
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<Tree, Unsupported> {
        Err(Unsupported("bytes".into()))
    }
    fn serialize_none(self) -> Result<Tree, Unsupported> {
        Ok(Tree::Nothing)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree, Unsupported> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Tree, Unsupported> {
        Ok(Tree::Nothing)
    }
    fn serialize_unit_struct(self, _: &'static str) -> Result<Tree, Unsupported> {
        Ok(Tree::Nothing)
    }
    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<Tree, Unsupported> {
        Ok(Tree::Text(variant.to_owned()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<Tree, Unsupported> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, Unsupported> {
        value.serialize(self)
    }
    fn serialize_seq(self, length: Option<usize>) -> Result<Items, Unsupported> {
        Ok(Items(Vec::with_capacity(length.unwrap_or(0))))
    }
    fn serialize_tuple(self, length: usize) -> Result<Items, Unsupported> {
        self.serialize_seq(Some(length))
    }
    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Self::SerializeTupleStruct, Unsupported> {
        Err(Unsupported(name.into()))
    }
    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unsupported> {
        Err(Unsupported(name.into()))
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unsupported> {
        Err(Unsupported("a map".into()))
    }
    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Fields, Unsupported> {
        Ok(Fields(Node { kind: name, fields: Vec::with_capacity(length) }))
    }
    fn serialize_struct_variant(
        self,
        name: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unsupported> {
        Err(Unsupported(name.into()))
    }
}

struct Items(Vec<Tree>);

impl ser::SerializeSeq for Items {
    type Ok = Tree;
    type Error = Unsupported;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        self.0.push(value.serialize(Builder)?);
        Ok(())
    }
    fn end(self) -> Result<Tree, Unsupported> {
        Ok(Tree::List(self.0))
    }
}

impl ser::SerializeTuple for Items {
    type Ok = Tree;
    type Error = Unsupported;
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsupported> {
        ser::SerializeSeq::serialize_element(self, value)
    }
    fn end(self) -> Result<Tree, Unsupported> {
        ser::SerializeSeq::end(self)
    }
}

struct Fields(Node);

impl ser::SerializeStruct for Fields {
    type Ok = Tree;
    type Error = Unsupported;
    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Unsupported> {
        self.0.fields.push((name, value.serialize(Builder)?));
        Ok(())
    }
    /// `Node { node: … }` is the wrapper of the wire format; what it wraps takes its place.
    fn end(mut self) -> Result<Tree, Unsupported> {
        if self.0.kind == "Node" && self.0.fields.len() == 1 {
            return Ok(self.0.fields.pop().map_or(Tree::Nothing, |(_, value)| value));
        }
        Ok(Tree::Node(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_keeps_kinds_and_fields() {
        let parsed = pg_query::parse("select pg_catalog.f(1) from a.b", 0).unwrap();
        let tree = Tree::from_typed(&parsed.protobuf.stmts).unwrap();
        let select = tree.as_list()[0].as_node().unwrap().node("stmt").unwrap();
        assert_eq!(select.kind, "SelectStmt");
        assert_eq!(select.list("from_clause")[0].as_node().unwrap().text("schemaname"), "a");
        let call = select.list("target_list")[0].as_node().unwrap().node("val").unwrap();
        assert_eq!((call.kind, call.name_parts("funcname")), ("FuncCall", vec!["pg_catalog", "f"]));
        let constant = call.list("args")[0].as_node().unwrap().node("val").unwrap();
        assert_eq!((constant.kind, constant.number("ival")), ("Integer", 1));
    }
}
