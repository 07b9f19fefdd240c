// pgJDBC writes what somebody approves while it waits. Runs from source: java -cp postgresql.jar JdbcHeldWrites.java
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.Properties;

public class JdbcHeldWrites {
  static void check(String what, boolean good) {
    if (!good) throw new IllegalStateException("failed: " + what);
    System.out.println(what);
  }

  public static void main(String[] arguments) throws Exception {
    Properties properties = new Properties();
    properties.setProperty("user", System.getenv("PGUSER"));
    properties.setProperty("password", System.getenv("PGPASSWORD"));
    properties.setProperty("sslmode", "verify-full");
    properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
    String url = "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/"
        + java.net.URLEncoder.encode(System.getenv("PGDATABASE"), StandardCharsets.UTF_8);
    try (Connection db = DriverManager.getConnection(url, properties); Statement statement = db.createStatement()) {
      try (PreparedStatement update = db.prepareStatement("UPDATE orders SET note = ? WHERE id = ?")) {
        update.setString(1, "jdbc");
        update.setInt(2, 1);
        check("update", update.executeUpdate() == 1);
      }
      try (PreparedStatement insert = db.prepareStatement("INSERT INTO orders VALUES (?, ?) RETURNING id")) {
        insert.setInt(1, 1001);
        insert.setString(2, "jdbc");
        try (ResultSet rows = insert.executeQuery()) {
          check("insert", rows.next() && rows.getInt(1) == 1001);
        }
      }
      try (ResultSet rows = statement.executeQuery("SHOW default_transaction_read_only")) {
        check("reader", rows.next() && rows.getString(1).equals("on"));
      }
      try (ResultSet rows = statement.executeQuery("SELECT note FROM orders WHERE id = 1")) {
        check("read", rows.next() && rows.getString(1).equals("jdbc"));
      }
    }
    System.out.println("done");
  }
}
