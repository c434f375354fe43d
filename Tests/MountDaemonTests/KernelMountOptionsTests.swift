@testable import MountDaemon
import Testing

struct KernelMountOptionsTests {
  @Test(
    arguments: [
      ("", ""), ("noexec", ",noexec"), ("max_read=4096", ",max_read=4096"),
      ("noexec,max_read=131072", ",noexec,max_read=131072"),
      ("context=system_u:object_r:usr_t:s0", ",context=system_u:object_r:usr_t:s0"),
      ("fscontext=\"a_u:b_r:c_t:s0:c1,c2\"", ",fscontext=\"a_u:b_r:c_t:s0:c1\\,c2\""),
      ("rootcontext=\"a,b\",noexec", ",rootcontext=\"a\\,b\",noexec"),
    ] as [(String, String)]
  )
  func theTextForLibfuseEscapesCommasWithinValues(_ given: String, _ expected: String) throws {
    #expect(try KernelMountOptions(parsing: given).text == expected)
  }

  @Test(arguments: [
    "exec", "max_read", "max_read=", "max_read=4095", "max_read=4194305", "max_read=-1", "noexec=1",
    "context=", "context=\"\"", "context=a\\b", "context=a\nb", "rw", "fd=3",
  ])
  func anOptionThatTheKernelDoesNotGetIsNamed(_ text: String) {
    let problem = #expect(throws: KernelMountOptions.Problem.self) { try KernelMountOptions(parsing: text) }
    let name = text.prefix { $0 != "=" }
    #expect(problem?.reason.contains(name) ?? false, "\(problem?.reason ?? "")")
  }

  @Test func onlyLabelsExplainAMountThatFails() throws {
    #expect(try KernelMountOptions(parsing: "noexec,max_read=4096").advice == nil)
    #expect(try KernelMountOptions(parsing: "defcontext=a").advice?.contains("SELinux") ?? false)
    #expect(try KernelMountOptions(parsing: "max_read=65536").maximumRead == 65_536)
  }
}
