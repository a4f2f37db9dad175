import java.io.ByteArrayInputStream;
import java.io.FileInputStream;
import java.io.PrintStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateFactory;
import java.time.Duration;
import java.util.Base64;
import java.util.HexFormat;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;

/** Java's HttpClient, as it is by default: HTTP/2 where the server can. See wire.py. */
public class Client {
    private static final String PIECE = "0123456789abcdef";

    public static void main(String[] arguments) throws Exception {
        String version = arguments[0], base = arguments[1];
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line : new String(System.in.readAllBytes(), StandardCharsets.UTF_8).split("\n")) {
            String[] parts = line.split("\t");
            String answer;
            try {
                answer = ask(client(version, arguments[2], parts[5].contains("follow")), base, parts);
            } catch (IllegalArgumentException error) {
                answer = "-\t" + encode(String.valueOf(error.getMessage()).getBytes(StandardCharsets.UTF_8));
            } catch (Exception error) {
                answer = "!\t" + encode(String.valueOf(error).getBytes(StandardCharsets.UTF_8));
            }
            out.println(parts[0] + "\t" + answer);
        }
        System.exit(0);
    }

    private static HttpClient plain, following;

    private static HttpClient client(String version, String authority, boolean follows) throws Exception {
        HttpClient kept = follows ? following : plain;
        if (kept != null) return kept;
        HttpClient.Builder builder = HttpClient.newBuilder()
            .followRedirects(follows ? HttpClient.Redirect.ALWAYS : HttpClient.Redirect.NEVER)
            .connectTimeout(Duration.ofSeconds(20));
        if (version.equals("1.1")) builder.version(HttpClient.Version.HTTP_1_1);
        KeyStore trusted = KeyStore.getInstance(KeyStore.getDefaultType());
        trusted.load(null);
        try (FileInputStream file = new FileInputStream(authority)) {
            trusted.setCertificateEntry("clients", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory managers = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        managers.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, managers.getTrustManagers(), null);
        HttpClient made = builder.sslContext(context).build();
        if (follows) following = made; else plain = made;
        return made;
    }

    private static String ask(HttpClient client, String base, String[] parts) throws Exception {
        String url = new String(decode(parts[2]), StandardCharsets.UTF_8);
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + url)).timeout(Duration.ofSeconds(30));
        for (String field : new String(decode(parts[3]), StandardCharsets.UTF_8).split("\n")) {
            int colon = field.indexOf(':');
            if (colon > 0) request.header(field.substring(0, colon), field.substring(Math.min(colon + 2, field.length())));
        }
        HttpRequest.BodyPublisher body = HttpRequest.BodyPublishers.noBody();
        if (!parts[4].equals("-")) {
            byte[] data = data(parts[4]);
            body = parts[5].contains("chunked")
                ? HttpRequest.BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(data))
                : HttpRequest.BodyPublishers.ofByteArray(data);
        }
        HttpResponse<byte[]> answer = client.send(request.method(parts[1], body).build(), HttpResponse.BodyHandlers.ofByteArray());
        StringBuilder fields = new StringBuilder();
        answer.headers().map().forEach((name, values) -> {
            for (String value : values) if (!name.startsWith(":")) fields.append(name).append(": ").append(value).append("\n");
        });
        byte[] read = answer.body();
        String shown = read.length <= 1 << 20 ? encode(read)
            : "sha256:" + HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(read)) + ":" + read.length;
        return answer.statusCode() + "\t" + encode(fields.toString().getBytes(StandardCharsets.UTF_8)) + "\t" + shown;
    }

    private static byte[] data(String told) {
        if (!told.startsWith("size:")) return decode(told.substring(2));
        int size = Integer.parseInt(told.substring(5));
        byte[] data = new byte[size];
        for (int at = 0; at < size; at++) data[at] = (byte) PIECE.charAt(at % 16);
        return data;
    }

    private static String encode(byte[] data) {
        return data.length == 0 ? "=" : Base64.getEncoder().encodeToString(data);
    }

    private static byte[] decode(String text) {
        return text.equals("=") ? new byte[0] : Base64.getDecoder().decode(text);
    }
}
