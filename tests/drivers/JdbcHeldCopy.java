// pgJDBC copies rows that somebody approves while it waits. Runs from source: java -cp postgresql.jar JdbcHeldCopy.java
import java.io.StringReader;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.copy.CopyIn;
import org.postgresql.copy.CopyManager;

public class JdbcHeldCopy {
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
      CopyManager copies = db.unwrap(PGConnection.class).getCopyAPI();
      check("csv", copies.copyIn("copy orders from stdin csv", new StringReader("1001,a\n1002,b\n")) == 2);
      CopyIn text = copies.copyIn("copy orders from stdin");
      byte[] row = "1003\tc\n".getBytes(StandardCharsets.UTF_8);
      text.writeToCopy(row, 0, row.length);
      check("text", text.endCopy() == 1);
      CopyIn given = copies.copyIn("copy orders from stdin");
      given.writeToCopy(row, 0, row.length);
      given.cancelCopy();
      try (ResultSet rows = statement.executeQuery("select count(*) from orders where id > 1000")) {
        rows.next();
        check("after a copy given up", rows.getInt(1) == 3);
      }
    }
    System.out.println("done");
  }
}
