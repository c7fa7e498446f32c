import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;

import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.StringSerializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Produced;

/**
 * A word count that is exactly once, and who feeds it: the smallest application with a repartition topic, a state store
 * with its changelog, and an output, all written in one transaction.
 *
 *   WordCount count BOOTSTRAP STATE_DIRECTORY GUARANTEE   counts until SIGTERM or an error
 *   WordCount feed BOOTSTRAP LINES PER_SECOND             writes lines of five words, says what it wrote, and ends
 */
public final class WordCount {
    private static final int WORDS = 40;
    private static final int WORDS_OF_LINE = 5;

    private WordCount() { }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("count")) {
            count(arguments[1], arguments[2], arguments[3]);
        } else {
            feed(arguments[1], Integer.parseInt(arguments[2]), Integer.parseInt(arguments[3]));
        }
    }

    private static void count(String bootstrap, String directory, String guarantee) throws Exception {
        Properties config = new Properties();
        config.put(StreamsConfig.APPLICATION_ID_CONFIG, "word-count");
        config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        config.put(StreamsConfig.STATE_DIR_CONFIG, directory);
        config.put(StreamsConfig.PROCESSING_GUARANTEE_CONFIG, guarantee);
        config.put(StreamsConfig.NUM_STREAM_THREADS_CONFIG, 2);
        config.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        // Each word is answered by its count: the output is then exact to the record, not only in its last counts.
        config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 0);
        config.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        config.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        config.put(StreamsConfig.consumerPrefix("session.timeout.ms"), 6000);
        config.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), 1000);

        StreamsBuilder builder = new StreamsBuilder();
        builder.<String, String>stream("lines")
            .flatMapValues(line -> List.of(line.split(" ")))
            .map((key, word) -> KeyValue.pair(word, word))
            .groupByKey()
            .count()
            .toStream()
            .mapValues(String::valueOf)
            .to("counts", Produced.with(Serdes.String(), Serdes.String()));
        KafkaStreams streams = new KafkaStreams(builder.build(), config);
        // Who runs it starts it again: a thread that Streams itself replaces may wait for ever for the tasks of the dead one.
        streams.setUncaughtExceptionHandler(problem -> {
            System.out.println("failed: " + problem);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        CountDownLatch end = new CountDownLatch(1);
        streams.setStateListener((now, before) -> {
            System.out.println("state: " + now);
            if (now == KafkaStreams.State.ERROR) {
                end.countDown();
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(20))));
        streams.start();
        end.await();
        Runtime.getRuntime().halt(3);
    }

    private static void feed(String bootstrap, int lines, int perSecond) throws Exception {
        Properties config = new Properties();
        config.put(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        config.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, true);
        config.put(ProducerConfig.DELIVERY_TIMEOUT_MS_CONFIG, 300_000);
        config.put(ProducerConfig.MAX_BLOCK_MS_CONFIG, 300_000);
        config.put(ProducerConfig.RECONNECT_BACKOFF_MAX_MS_CONFIG, 500);
        Random random = new Random(42);
        int[] counts = new int[WORDS];
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        try (KafkaProducer<String, String> producer =
                 new KafkaProducer<>(config, new StringSerializer(), new StringSerializer())) {
            long began = System.nanoTime();
            for (int i = 0; i < lines; i++) {
                StringBuilder line = new StringBuilder();
                for (int w = 0; w < WORDS_OF_LINE; w++) {
                    // Some words are frequent, as in any language.
                    int word = Math.min(random.nextInt(WORDS), random.nextInt(WORDS));
                    counts[word]++;
                    line.append(w == 0 ? "" : " ").append("word").append(word);
                }
                sent.add(producer.send(new ProducerRecord<>("lines", Integer.toString(i), line.toString())));
                long due = began + (long) i * 1_000_000_000L / perSecond;
                Thread.sleep(Math.max(0, (due - System.nanoTime()) / 1_000_000));
            }
            producer.flush();
        }
        for (Future<RecordMetadata> one : sent) {
            one.get();
        }
        StringBuilder result = new StringBuilder("fed:");
        for (int i = 0; i < WORDS; i++) {
            result.append(" word").append(i).append('=').append(counts[i]);
        }
        System.out.write((result + "\n").getBytes(StandardCharsets.UTF_8));
        System.out.flush();
    }
}
