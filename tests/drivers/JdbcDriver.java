// pgJDBC as programs use it. See README.md. Runs from source: java -cp postgresql.jar JdbcDriver.java reads
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Properties;
import java.util.Timer;
import java.util.TimerTask;

public class JdbcDriver {
  static void check(String what, boolean good) {
    if (!good) throw new IllegalStateException("failed: " + what);
    System.out.println(what);
  }

  static Connection connect() throws SQLException {
    Properties properties = new Properties();
    properties.setProperty("user", System.getenv("PGUSER"));
    properties.setProperty("password", System.getenv("PGPASSWORD"));
    properties.setProperty("sslmode", "verify-full");
    properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
    String database = java.net.URLEncoder.encode(System.getenv("PGDATABASE"), java.nio.charset.StandardCharsets.UTF_8);
    return DriverManager.getConnection(
        "jdbc:postgresql://" + System.getenv("PGHOST") + ":" + System.getenv("PGPORT") + "/" + database, properties);
  }

  static int number(Statement statement, String sql) throws SQLException {
    try (ResultSet rows = statement.executeQuery(sql)) {
      rows.next();
      return rows.getInt(1);
    }
  }

  static void reads() throws Exception {
    try (Connection db = connect(); Statement statement = db.createStatement()) {
      check("simple", number(statement, "select 1") == 1);
      try (PreparedStatement prepared = db.prepareStatement("select id from orders where id = ?")) {
        boolean good = true;
        for (int n = 1; n <= 20; n++) {
          prepared.setInt(1, n);
          try (ResultSet rows = prepared.executeQuery()) {
            good &= rows.next() && rows.getInt(1) == n;
          }
        }
        check("prepared, twenty times", good);
      }
      db.setAutoCommit(false);
      statement.setFetchSize(7);
      int found = 0;
      try (ResultSet rows = statement.executeQuery("select id from orders where id <= 100 order by id")) {
        while (rows.next()) found++;
      }
      check("fetch size", found == 100);
      try {
        number(statement, "select 1 / 0");
        check("error", false);
      } catch (SQLException error) {
        check("error", error.getSQLState().equals("22012"));
      }
      db.rollback();
      check("after an error", number(statement, "select 2") == 2);
      db.commit();
      db.setAutoCommit(true);
      Timer timer = new Timer(true);
      timer.schedule(new TimerTask() {
        @Override public void run() {
          try { statement.cancel(); } catch (SQLException error) { throw new IllegalStateException(error); }
        }
      }, 300);
      try {
        number(statement, "select 1 from pg_sleep(30)");
        check("cancel", false);
      } catch (SQLException error) {
        check("cancel", error.getSQLState().equals("57014"));
      }
      check("after a cancel", number(statement, "select 4") == 4);
    }
  }

  static void writes() throws Exception {
    try (Connection db = connect(); Statement statement = db.createStatement()) {
      db.setAutoCommit(false);
      try (PreparedStatement prepared = db.prepareStatement("insert into orders (id, note) values (?, ?)")) {
        for (int n = 0; n < 20; n++) {
          prepared.setInt(1, 1_000_000 + n);
          prepared.setString(2, "driver");
          prepared.addBatch();
        }
        check("batch", prepared.executeBatch().length == 20);
      }
      check("written", number(statement, "select count(*) from orders where id >= 1000000") == 20);
      db.rollback();
      check("rollback", number(statement, "select count(*) from orders where id >= 1000000") == 0);
      db.commit();
    }
  }

  public static void main(String[] arguments) throws Exception {
    reads();
    if (arguments.length > 0 && arguments[0].equals("writes")) writes();
    System.out.println("done");
  }
}
