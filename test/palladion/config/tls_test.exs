defmodule Palladion.Config.TLSTest do
  use ExUnit.Case, async: true

  alias Palladion.Config.TLS

  @supported [:"tlsv1.2", :"tlsv1.3"]

  defp parse(options), do: TLS.parse(options, fn -> ["root"] end)

  defp parse!(options) do
    assert {%TLS{} = tls, []} = parse(options)
    tls
  end

  defp problems(options) do
    {_tls, problems} = parse(options)
    refute inspect(problems) =~ "hunter2"
    Enum.map(problems, &{&1.path, &1.reason})
  end

  test "everything is on by default" do
    assert parse!(true) == %TLS{
             verify: :peer,
             verified_name: nil,
             sni: nil,
             cacerts: ["root"],
             cert_chain: [],
             key: nil,
             versions: @supported,
             session_cache: %{size: 100, ttl: 3_600}
           }

    assert parse!([]) == parse!(true)
  end

  test "false is no TLS" do
    assert parse(false) == {nil, []}
  end

  test "anything else is not shown" do
    for bad <- ["hunter2", :hunter2, nil, %{password: "hunter2"}, ["hunter2"]] do
      assert problems(bad) == [{[:tls], :invalid_value}]
    end
  end

  test "SNI is the verified name as well, unless that is given" do
    for {options, sni, verified} <- [
          {[server_name_indication: "db.example"], "db.example", "db.example"},
          {[server_name_indication: ~c"db.example"], "db.example", "db.example"},
          {[server_name_indication: :disable], false, nil},
          {[verify_hostname: "db.example"], nil, "db.example"},
          {[verify_hostname: "10.0.0.1"], nil, "10.0.0.1"},
          {[verify_hostname: {10, 0, 0, 1}], nil, "10.0.0.1"},
          {[verify_hostname: false], nil, false},
          {[server_name_indication: "a", verify_hostname: "b"], "a", "b"},
          {[server_name_indication: "a", verify_hostname: false], "a", false},
          {[server_name_indication: :disable, verify_hostname: "b"], false, "b"},
          {[verify: :verify_none, server_name_indication: "a"], "a", "a"}
        ] do
      assert %{sni: ^sni, verified_name: ^verified} = parse!(options)
    end
  end

  test "names that are none" do
    for {name, bad} <- [
          server_name_indication: "10.0.0.1",
          server_name_indication: "::1",
          server_name_indication: "",
          server_name_indication: false,
          server_name_indication: "two words",
          server_name_indication: "db:9042",
          verify_hostname: "",
          verify_hostname: true,
          verify_hostname: "*.example",
          verify_hostname: "{host_id}.example",
          verify_hostname: %{}
        ] do
      assert problems([{name, bad}]) == [{[:tls, name], :invalid_name}], inspect({name, bad})
    end
  end

  test "a name to verify without verification would have no effect" do
    assert problems(verify: :verify_none, verify_hostname: "a") ==
             [{[:tls, :verify_hostname], :conflict}]

    assert %{verify: :none, verified_name: false, cacerts: []} =
             parse!(verify: :verify_none, verify_hostname: false)
  end

  test "versions" do
    assert parse!(versions: [:"tlsv1.3"]).versions == [:"tlsv1.3"]
    assert parse!(versions: [:"tlsv1.3", :"tlsv1.2", :"tlsv1.3"]).versions == @supported

    for bad <- [[], nil, :"tlsv1.2", ["tlsv1.2"], [:"tlsv1.4"], [:"tlsv1.2" | :"tlsv1.3"]] do
      assert problems(versions: bad) == [{[:tls, :versions], :invalid_value}]
    end
  end

  test "old versions are refused, with the reason" do
    for old <- [:sslv3, :tlsv1, :"tlsv1.1"] do
      assert {_, [problem]} = parse(versions: [:"tlsv1.2", old])
      assert %{path: [:tls, :versions], reason: :insecure_version} = problem
      assert problem.message =~ "#{inspect(old)} is refused"
    end
  end

  test "the session cache" do
    assert parse!(session_cache: false).session_cache == nil
    assert parse!(session_cache: [size: 7]).session_cache == %{size: 7, ttl: 3_600}

    # More than the 7 days of the protocol can't be had.
    assert parse!(session_cache: [ttl: 604_800]).session_cache.ttl == 604_800

    assert problems(session_cache: [ttl: 604_801]) == [
             {[:tls, :session_cache, :ttl], :invalid_value}
           ]

    assert problems(session_cache: [size: 0]) == [{[:tls, :session_cache, :size], :invalid_value}]
    assert problems(session_cache: [tll: 1]) == [{[:tls, :session_cache, :tll], :unknown_option}]
    assert problems(session_cache: true) == [{[:tls, :session_cache], :invalid_value}]
  end

  test "what is wrong in several places is told at once" do
    options = [
      verify: :verify_peer,
      cacertfile: "none.pem",
      certfile: "none.crt",
      keyfile: "none.key",
      server_name_indication: "",
      versions: [],
      cacert: "hunter2"
    ]

    assert options |> problems() |> Enum.sort() == [
             {[:tls, :cacert], :unknown_option},
             {[:tls, :cacertfile], :unreadable},
             {[:tls, :certfile], :unreadable},
             {[:tls, :keyfile], :unreadable},
             {[:tls, :server_name_indication], :invalid_name},
             {[:tls, :versions], :invalid_value}
           ]
  end

  test "inspect leaves certificates and keys out" do
    text = inspect(parse!(true))
    assert text =~ "verify: :peer"
    refute text =~ "root"
    refute text =~ "key:"
  end
end
