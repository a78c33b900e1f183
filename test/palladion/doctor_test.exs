defmodule Palladion.DoctorTest do
  use ExUnit.Case, async: true

  alias Palladion.{ConfigError, Doctor, Test}
  alias Palladion.Doctor.Report
  alias Palladion.Test.Doctor.Library

  import Palladion.Test.Doctor,
    only: [environment: 0, environment: 1, probe: 0, probe: 1, stopped: 1]

  @cacerts [Palladion.Test.Doctor.certificate()]

  defp options(more \\ []) do
    Keyword.merge([contact_points: ["db1.example"], tls: [cacerts: @cacerts]], more)
  end

  defp requests do
    receive do
      {:probe, request} -> [request | requests()]
    after
      0 -> []
    end
  end

  defp run(options, environment \\ environment()), do: Doctor.run_all(options, environment)

  # As the library would: no CQL where none is asked for.
  defp all_well(request) do
    if request.cql, do: probe(), else: probe(cql: nil)
  end

  test "a probe for each version, of which one logs in" do
    Library.reply(&all_well/1)
    auth = [username: "ann", password: "hunter2"]
    assert [report] = run(options(auth: auth, connect_timeout: 17))
    assert Report.ok?(report)
    assert {report.host, report.port, report.address} == {"db1.example", 9042, "10.0.0.1"}

    assert [first, second] = requests()
    assert {first.tls.versions, first.cql} == {[:"tlsv1.3"], true}
    assert {second.tls.versions, second.cql} == {[:"tlsv1.2"], false}
    assert %{host: "db1.example", port: 9042, address: "10.0.0.1", resume: true} = first
    assert %{connect_timeout: 17, tls_timeout: 5_000, login_timeout: 10_000} = first

    assert {:sasl, %{credentials: {:static, %{username: "ann", password: secret}}}} =
             first.auth.method

    assert is_reference(secret)
    assert %{tls: %{cacerts: @cacerts}} = first
    assert is_binary(first.driver_version)
    assert first.workers in 1..64 and first.decoders in 1..64

    assert Enum.sort(Map.keys(first)) == [
             :address,
             :auth,
             :callbacks,
             :client_id,
             :connect_timeout,
             :cql,
             :decoders,
             :driver_version,
             :host,
             :login_timeout,
             :port,
             :protocol_version,
             :resume,
             :tls,
             :tls_timeout,
             :workers
           ]
  end

  test "it asks with the version of the configuration, or with one that all servers speak" do
    Library.reply(&all_well/1)

    for {given, asked} <- [{[], 4}, {[version: 3], 3}, {[version: 5], 5}] do
      assert [report] = run(options(protocol: given))
      assert Report.ok?(report)
      assert [%{protocol_version: ^asked}, %{protocol_version: ^asked}] = requests()
    end
  end

  test "of a server that refuses that one, an older one is looked for, unless it was asked for" do
    # So old that it doesn't name its versions.
    cql = [supported: %{"CQL_VERSION" => ["3.2.1"]}]

    Library.reply(fn
      %{protocol_version: 3, cql: true} -> probe(cql: cql)
      %{protocol_version: 3} -> probe(cql: nil)
      _newer -> probe(cql: nil, error: {:unsupported_protocol, %{server_version: 3}})
    end)

    assert [report] = run(options())
    assert Report.ok?(report)
    assert Enum.find(report.steps, &(&1.id == :protocol)).summary == "protocol version 3"
    assert [4, 3, 4, 3] = for(request <- requests(), do: request.protocol_version)

    assert [report] = run(options(protocol: [version: 5]))
    assert Enum.find(report.steps, &(&1.id == :protocol)).reason == :unsupported_protocol
    assert [5, 5] = for(request <- requests(), do: request.protocol_version)
  end

  test "the login goes to the version that is accepted" do
    Library.reply(fn request ->
      if request.tls.versions == [:"tlsv1.3"],
        do: stopped({:tls_version, %{}}),
        else: all_well(request)
    end)

    assert [report] = run(options())
    assert Report.ok?(report)
    assert [true, true] = Enum.map(requests(), & &1.cql)
  end

  test "no login with a version that isn't allowed" do
    Library.reply(&all_well/1)
    assert [_report] = run(options(tls: [cacerts: @cacerts, versions: [:"tlsv1.2"]]))
    requests = for request <- requests(), do: {request.tls.versions, request.cql}
    assert requests == [{[:"tlsv1.2"], true}, {[:"tlsv1.3"], false}]
  end

  test "without TLS there is one probe, and no question for old versions" do
    Library.reply(fn _request -> probe(tls: nil, resumption: nil) end)
    old_tls = fn _, _, _, _, _ -> flunk("asked for old versions") end
    assert [report] = run(options(tls: false), environment(old_tls: old_tls))
    assert Report.ok?(report)
    assert [%{tls: nil, cql: true, resume: false}] = requests()
  end

  test "old versions are asked for with the server's name" do
    Library.reply(&all_well/1)
    test = self()

    ask = fn version, address, port, sni, timeout ->
      send(test, {:old, version, address, port, sni, timeout})
      :refused
    end

    run(options(), environment(old_tls: ask))
    assert_received {:old, :"tlsv1.1", "10.0.0.1", 9042, "db1.example", 5_000}
    assert_received {:old, :tlsv1, "10.0.0.1", 9042, "db1.example", 5_000}

    run(options(contact_points: ["10.0.0.1"]), environment(old_tls: ask))
    assert_received {:old, :tlsv1, "10.0.0.1", 9042, nil, 5_000}

    tls = [cacerts: @cacerts, server_name_indication: "other.example"]
    run(options(tls: tls), environment(old_tls: ask))
    assert_received {:old, :tlsv1, "10.0.0.1", 9042, "other.example", 5_000}
  end

  test "not where there is no TLS" do
    Library.reply(fn _request -> stopped({:not_tls, %{}}) end)
    old_tls = fn _, _, _, _, _ -> flunk("asked for old versions") end
    assert [report] = run(options(), environment(old_tls: old_tls))
    refute Report.ok?(report)
  end

  test "every address is dialled, and the first that answers is probed" do
    Library.reply(&all_well/1)

    environment =
      environment(
        resolve: fn "db1.example", 5_000 -> {:ok, ["::1", "10.0.0.2", "10.0.0.3"]} end,
        dial: fn address, 9042, 5_000 ->
          if address == "::1", do: {:error, :econnrefused}, else: :ok
        end
      )

    assert [report] = run(options(), environment)
    assert [%{address: "10.0.0.2"}, _] = requests()
    tcp = Enum.find(report.steps, &(&1.id == :tcp))
    results = for address <- tcp.data[:addresses], do: {address[:address], address[:result]}
    assert results == [{"::1", :connection_refused}, {"10.0.0.2", :ok}, {"10.0.0.3", :ok}]
  end

  test "what can't be reached isn't probed" do
    for changes <- [
          [resolve: fn _, _ -> {:error, :nxdomain} end],
          [dial: fn _, _, _ -> {:error, :timeout} end]
        ] do
      assert [report] = run(options(), environment(changes))
      assert Report.exit_code(report) == 1
      assert requests() == []
    end
  end

  test "all contact points, one after the other" do
    Library.reply(&all_well/1)
    assert reports = run(options(contact_points: ["db1.example", "db2.example:9142"]))

    assert Enum.map(reports, &{&1.host, &1.port}) == [
             {"db1.example", 9042},
             {"db2.example", 9142}
           ]

    assert Report.exit_code(reports) == 0
  end

  test "a configured cluster" do
    Library.reply(&all_well/1)
    Application.put_env(:palladion, DoctorTest.DB, options())
    on_exit(fn -> Application.delete_env(:palladion, DoctorTest.DB) end)

    assert [%{host: "db1.example"}] = run(otp_app: :palladion, name: DoctorTest.DB)

    assert [%{host: "db9"}] =
             run(otp_app: :palladion, name: DoctorTest.DB, contact_points: ["db9"])
  end

  test "options win over the configuration's, also where both can't be" do
    Library.reply(&all_well/1)
    authority = Test.Certificates.chain().root
    %{tmp_dir: dir} = Test.Certificates.tmp_dir(%{})
    file = Test.Certificates.write!(dir, "ca.pem", Test.Certificates.pem(authority))

    examined = fn configured, given ->
      Application.put_env(:palladion, DoctorTest.Other, options(tls: configured))
      run(otp_app: :palladion, name: DoctorTest.Other, tls: given)
      [%{tls: tls} | _] = requests()
      tls
    end

    on_exit(fn -> Application.delete_env(:palladion, DoctorTest.Other) end)

    assert %{cacerts: [^authority]} = examined.([cacerts: @cacerts], cacertfile: file)

    trusted = [cacerts: @cacerts, pinned: <<7::256>>, verify_hostname: "other.example"]
    assert %{verify: :none, cacerts: [], pins: []} = examined.(trusted, verify: :verify_none)

    assert %{verify: :peer, cacerts: [^authority]} =
             examined.([verify: :verify_none], cacertfile: file)
  end

  test "options that can't be used, and what only the library finds wrong with them" do
    error = assert_raise ConfigError, fn -> run(options(tls: [cacertfil: "ca.pem"])) end
    assert Exception.message(error) =~ "did you mean :cacertfile?"

    Library.reply(fn _ -> {:error, {:bad_config, %{option: "tls.key", detail: "too weak"}}} end)
    error = assert_raise ConfigError, fn -> run(options()) end
    assert Exception.message(error) =~ "tls.key: can't be used: too weak"
  end

  test "what a login asks is answered while it looks, by whoever does so in a cluster" do
    Library.reply(&all_well/1)
    test = self()

    answer = fn %{callbacks: callbacks, auth: auth, config: config} ->
      {:ok, process} = Agent.start_link(fn -> nil end)
      send(test, {:answering, process, callbacks, auth == config.auth})
      {:ok, process}
    end

    auth = [credentials: fn _endpoint -> flunk("nobody logs in here") end]
    assert [_report] = run(options(auth: auth), environment(answer: answer))
    assert_received {:answering, process, callbacks, true}
    refute Process.alive?(process)
    assert [%{callbacks: ^callbacks}, %{callbacks: ^callbacks}] = requests()

    silent = fn _argument -> flunk("there is nothing to ask") end
    assert [_report] = run(options(), environment(answer: silent))
  end

  test "nothing stays in the mailbox, and nothing secret shows" do
    Library.reply(fn request ->
      if request.cql,
        do: probe(cql: [login: {:bad_credentials, %{server_message: "no such user"}}]),
        else: probe(cql: nil)
    end)

    auth = [username: "ann", password: "hunter2"]
    assert [report] = reports = run(options(auth: auth))
    _ = requests()
    refute_received _

    json = Report.to_json(reports)

    for text <- [Report.to_text(report), json, inspect(report, limit: :infinity)],
        do: refute(text =~ "hunter2")

    assert %{"ok" => false, "endpoints" => [endpoint]} = Test.JSON.decode!(json)
    assert %{"host" => "db1.example", "port" => 9042, "ok" => false} = endpoint
    login = List.last(endpoint["steps"])
    assert %{"id" => "login", "status" => "problem", "reason" => "bad_credentials"} = login
    assert login["advice"] =~ "LOGIN = true"
  end
end
