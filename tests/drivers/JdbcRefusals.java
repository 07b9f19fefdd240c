import java.io.StringReader;
import java.io.StringWriter;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;
import java.sql.Statement;
import java.util.Properties;

/** The JDBC driver through the door: prepared by the server, batches, fetching in portions, COPY, cancellation. */
public final class JdbcRefusals {
    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("sslmode", "verify-full");
        properties.setProperty("sslrootcert", System.getenv("PGSSLROOTCERT"));
        String database = System.getenv("PGDATABASE").replace("/", "%2F");
        String url = "jdbc:postgresql://localhost:" + System.getenv("PGPORT") + "/" + database;
        try (Connection connection = DriverManager.getConnection(url, properties)) {
            run(connection);
        }
        System.out.println("done");
    }

    private static void run(Connection connection) throws Exception {
        // After five runs the driver uses a named statement and the binary format.
        try (PreparedStatement byId = connection.prepareStatement("SELECT note, id FROM orders WHERE id = ?")) {
            for (int n = 1; n < 13; n++) {
                byId.setInt(1, n);
                try (ResultSet rows = byId.executeQuery()) {
                    check(rows.next() && rows.getString(1).equals("order " + n) && rows.getInt(2) == n);
                }
            }
        }
        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(7);
            int seen = 0;
            try (ResultSet rows = statement.executeQuery("SELECT id FROM orders ORDER BY id")) {
                while (rows.next()) {
                    seen++;
                }
            }
            check(seen == 100);
            statement.executeUpdate("UPDATE orders SET note = 'kept' WHERE id = 3");
            Savepoint savepoint = connection.setSavepoint();
            refused(() -> statement.execute("CREATE ROLE mallory"));
            connection.rollback(savepoint);
            connection.commit();
            check(one(statement, "SELECT note FROM orders WHERE id = 3").equals("kept"));
        }
        connection.setAutoCommit(true);
        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO orders VALUES (?, ?)")) {
            for (int n = 1000; n < 1300; n++) {
                insert.setInt(1, n);
                insert.setString(2, "batch");
                insert.addBatch();
            }
            check(insert.executeBatch().length == 300);
        }
        try (Statement statement = connection.createStatement()) {
            statement.addBatch("UPDATE orders SET note = 'x' WHERE id = 1000");
            statement.addBatch("CREATE ROLE mallory");
            try {
                statement.executeBatch();
                throw new AssertionError("not refused");
            } catch (BatchUpdateException error) {
                check(error.getSQLState().equals("42501"));
            }
            org.postgresql.copy.CopyManager copy = connection.unwrap(org.postgresql.PGConnection.class).getCopyAPI();
            check(copy.copyIn("COPY orders FROM STDIN", new StringReader("2000\tcopied\n2001\tcopied\n")) == 2);
            StringWriter out = new StringWriter();
            copy.copyOut("COPY (SELECT id FROM orders WHERE id >= 2000) TO STDOUT", out);
            check(out.toString().equals("2000\n2001\n"));
            check(statement.executeUpdate("DELETE FROM orders WHERE id >= 1000") == 302);
            statement.setQueryTimeout(1);
            try {
                statement.execute("SELECT pg_sleep(60)");
                throw new AssertionError("not cancelled");
            } catch (SQLException error) {
                check(error.getSQLState().equals("57014"));
            }
            statement.setQueryTimeout(0);
            check(one(statement, "SELECT 1").equals("1"));
        }
    }

    private interface Attempt {
        void run() throws SQLException;
    }

    private static void refused(Attempt attempt) throws SQLException {
        try {
            attempt.run();
        } catch (SQLException error) {
            check(error.getSQLState().equals("42501"));
            return;
        }
        throw new AssertionError("not refused");
    }

    private static String one(Statement statement, String query) throws SQLException {
        try (ResultSet rows = statement.executeQuery(query)) {
            check(rows.next());
            return rows.getString(1);
        }
    }

    private static void check(boolean holds) {
        if (!holds) {
            throw new AssertionError();
        }
    }
}
