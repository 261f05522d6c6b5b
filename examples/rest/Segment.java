// The mask of the object in a box, with Java 17 or later and no library:
// java examples/rest/Segment.java
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Base64;

public class Segment {
    public static void main(String[] arguments) throws Exception {
        String server = System.getenv().getOrDefault("OVSEG_URL", "http://localhost:8080");
        byte[] photo = Files.readAllBytes(Path.of("examples/photo.jpg"));
        String body = """
            {"image": "%s", "promptType": "box", "prompt": [[150, 12, 300, 150]], "visualize": false}
            """.formatted(Base64.getEncoder().encodeToString(photo));
        HttpRequest request =
            HttpRequest.newBuilder(URI.create(server + "/open-vocabulary-segmentation"))
                .header("Content-Type", "application/json")
                .timeout(Duration.ofMinutes(1))
                .POST(HttpRequest.BodyPublishers.ofString(body))
                .build();
        HttpResponse<String> response =
            HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        if (response.statusCode() != 200) {
            throw new IllegalStateException(response.body());
        }
        System.out.println(response.body()); // JSON: give it to the library you use for that.
    }
}
