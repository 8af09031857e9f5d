import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.Properties;

import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.internals.BuiltInPartitioner;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * Reads topics from their beginnings to their ends with Kafka's own consumer.
 *
 * <pre>java -cp 'KAFKA_JARS/*' ReadTopics.java BROKERS FILE (ISOLATION_LEVEL TOPIC)...</pre>
 *
 * FILE gets a line for each record, with tabs between: isolation level, topic, partition, offset, the partition that
 * Kafka's own producer chooses for the key, key, value, then name and value of each header. Bytes are in hexadecimal,
 * each with an x before it; a null is "-". The last line is "end".
 */
public class ReadTopics {
    public static void main(String[] arguments) throws Exception {
        try (PrintStream out = new PrintStream(arguments[1], StandardCharsets.US_ASCII)) {
            for (int next = 2; next < arguments.length; next += 2) {
                read(arguments[0], arguments[next], arguments[next + 1], out);
            }
            out.print("end\n");
        }
    }

    private static void read(String brokers, String isolation, String topic, PrintStream out) {
        Properties settings = new Properties();
        settings.put("bootstrap.servers", brokers);
        settings.put("isolation.level", isolation);
        settings.put("enable.auto.commit", "false");
        settings.put("key.deserializer", ByteArrayDeserializer.class.getName());
        settings.put("value.deserializer", ByteArrayDeserializer.class.getName());
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(settings)) {
            List<TopicPartition> partitions = consumer.partitionsFor(topic).stream()
                    .map(partition -> new TopicPartition(topic, partition.partition()))
                    .toList();
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            // With read_committed the end is the last stable offset.
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    out.print(line(isolation, record, partitions.size()));
                }
            }
        }
    }

    private static String line(String isolation, ConsumerRecord<byte[], byte[]> record, int partitions) {
        StringBuilder line = new StringBuilder();
        line.append(isolation).append('\t').append(record.topic());
        line.append('\t').append(record.partition()).append('\t').append(record.offset()).append('\t');
        line.append(record.key() == null ? "-" : BuiltInPartitioner.partitionForKey(record.key(), partitions));
        line.append('\t').append(shown(record.key())).append('\t').append(shown(record.value()));
        for (Header header : record.headers()) {
            line.append('\t').append(shown(header.key().getBytes(StandardCharsets.UTF_8)));
            line.append('\t').append(shown(header.value()));
        }
        return line.append('\n').toString();
    }

    private static String shown(byte[] bytes) {
        return bytes == null ? "-" : "x" + HexFormat.of().formatHex(bytes);
    }
}
