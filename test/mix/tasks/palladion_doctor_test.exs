defmodule Mix.Tasks.Palladion.DoctorTest do
  # Mix' shell is one for all.
  use ExUnit.Case, async: false

  import Palladion.Test.Doctor, only: [seen: 0, seen: 1, stopped: 1]

  alias Mix.Tasks.Palladion.Doctor
  alias Palladion.Doctor.Report
  alias Palladion.{Secret, Test}

  setup do
    shell = Mix.shell()
    Mix.shell(Mix.Shell.Process)
    on_exit(fn -> Mix.shell(shell) end)
  end

  defp well(_options), do: [Report.build(seen())]
  defp ill(_options), do: [Report.build(seen(probes: ["tlsv1.3": stopped({:not_tls, %{}})]))]

  defp output do
    assert_received {:mix_shell, :info, [text]}
    text
  end

  defp error do
    assert_received {:mix_shell, :error, [text]}
    text
  end

  test "0 where all is well" do
    assert Doctor.run(["db1"], &well/1) == :ok
    assert output() =~ "All well."
  end

  test "1 where a problem was found, and the report all the same" do
    assert catch_exit(Doctor.run(["db1"], &ill/1)) == {:shutdown, 1}
    assert output() =~ "[PROBLEM] TLS:"

    assert catch_exit(Doctor.run(["db1", "--json"], &ill/1)) == {:shutdown, 1}
    assert %{"ok" => false} = Test.JSON.decode!(output())
  end

  test "2 where the arguments can't be used" do
    assert catch_exit(Doctor.run([], &well/1)) == {:shutdown, 2}
    assert error() =~ "needs HOST:PORT"

    assert catch_exit(Doctor.run(~w(db1 --password hunter2), &well/1)) == {:shutdown, 2}
    refute error() =~ "hunter2"
  end

  test "2 where the configuration can't be used" do
    assert catch_exit(Doctor.run(~w(db1 --cacertfile /no/such/file))) == {:shutdown, 2}
    assert error() =~ "tls.cacertfile: \"/no/such/file\" can't be read"

    assert catch_exit(Doctor.run(~w(--otp-app palladion --name NoSuch))) == {:shutdown, 2}
    assert error() =~ "config :palladion, NoSuch, ... is not in its configuration"

    assert catch_exit(Doctor.run(~w(user:hunter2@db1))) == {:shutdown, 2}
    refute error() =~ "hunter2"
  end

  test "the password of a variable goes into the options as a function" do
    variable = "PALLADION_DOCTOR_TEST_#{System.unique_integer([:positive])}"
    argv = ~w(db1 --username ann --password-env #{variable})

    assert catch_exit(Doctor.run(argv, &well/1)) == {:shutdown, 2}
    assert error() =~ "#{variable} is not set"

    System.put_env(variable, "hunter2")
    on_exit(fn -> System.delete_env(variable) end)
    test = self()

    Doctor.run(argv, fn options ->
      send(test, {:options, options})
      well(options)
    end)

    assert_received {:options, options}
    refute inspect(options) =~ "hunter2"
    assert options[:auth][:username] == "ann"
    assert options[:auth][:password].() == "hunter2"
  end

  test "that of the standard input as a secret" do
    test = self()

    examine = fn options ->
      send(test, {:options, options})
      well(options)
    end

    argv = ~w(db1 --username ann --password-stdin)
    with_input("hunter2\r\nmore\n", fn -> Doctor.run(argv, examine) end)
    assert_received {:options, options}
    assert %Secret{} = options[:auth][:password]

    with_input("\n", fn -> assert catch_exit(Doctor.run(argv, examine)) == {:shutdown, 2} end)
    assert error() =~ "has no password"
  end

  test "help" do
    assert Doctor.run(["--help"], &well/1) == :ok
    assert output() =~ "## Exit codes"
  end

  test "the documentation has every option" do
    {:docs_v1, _, _, _, %{"en" => moduledoc}, _, _} = Code.fetch_docs(Doctor)

    for argument <- ~w(cacertfile certfile keyfile keyfile-password-env crlfile pinned
          verify-hostname no-verify-hostname server-name no-verify no-tls username password-env
          password-stdin allow-plaintext-password timeout otp-app name json help) do
      assert moduledoc =~ "`--#{argument}"
    end
  end

  # Not with capture_io, whose input would be the test's own.
  defp with_input(input, fun) do
    {:ok, device} = StringIO.open(input)
    leader = Process.group_leader()
    Process.group_leader(self(), device)

    try do
      fun.()
    after
      Process.group_leader(self(), leader)
    end
  end
end
