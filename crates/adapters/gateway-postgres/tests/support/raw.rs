//! A client that says exactly what it is told to say.


