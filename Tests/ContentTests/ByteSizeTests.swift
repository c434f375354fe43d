import Content
import Testing

struct ByteSizeTests {
  @Test(
    arguments: [
      (0, "0 B"), (1, "1 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (1587, "1.5 KiB"),
      (1588, "1.6 KiB"), (1_048_524, "1023.9 KiB"), (1_048_575, "1.0 MiB"), (1 << 20, "1.0 MiB"),
      (20 << 30, "20.0 GiB"), (3 << 39, "1.5 TiB"),
      (1 << 50, "1.0 PiB"), (4095 << 50, "4095.0 PiB"), (.max, "8192.0 PiB"),
    ] as [(Int64, String)]
  )
  func aSizeHasTheLargestUnitThatFitsAndOneDecimal(_ bytes: Int64, _ text: String) {
    #expect(ByteSize.text(bytes) == text)
  }
}
