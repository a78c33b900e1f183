defmodule Palladion.Config.TLSTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.TLS
  alias Palladion.Test.Certificates, as: Make

  @openssl System.find_executable("openssl") == nil and "the openssl command is not installed"
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
             pins: [],
             crls: [],
             crl_check: :chain,
             cert_chain: [],
             key: nil,
             versions: @supported,
             cipher_suites: nil,
             groups: nil,
             key_log: nil,
             session_cache: %{size: 100, ttl: 3_600, max_lineage: 86_400},
             watch_interval: nil,
             expiry_warning: 30,
             files: %{},
             source: []
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

  test "the names are those of VerifiedName" do
    assert %{sni: "a", verified_name: "b"} =
             parse!(server_name_indication: "a", verify_hostname: "b")

    assert %{verified_name: {:template, "{rack}.example"}} =
             parse!(verify_hostname: "{rack}.example")

    assert problems(verify_hostname: "two words") == [{[:tls, :verify_hostname], :invalid_name}]
  end

  test "the session cache" do
    assert parse!(session_cache: false).session_cache == nil

    assert parse!(session_cache: [size: 7]).session_cache ==
             %{size: 7, ttl: 3_600, max_lineage: 86_400}

    assert parse!(session_cache: [max_lineage: 60]).session_cache.max_lineage == 60

    # More than the 7 days of the protocol can't be had.
    assert parse!(session_cache: [ttl: 604_800]).session_cache.ttl == 604_800

    assert problems(session_cache: [ttl: 604_801]) == [
             {[:tls, :session_cache, :ttl], :invalid_value}
           ]

    for bad <- [0, 2_592_001] do
      assert problems(session_cache: [max_lineage: bad]) == [
               {[:tls, :session_cache, :max_lineage], :invalid_value}
             ]
    end

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

  test "how it lives on" do
    assert parse!(watch_interval: 500).watch_interval == 500
    assert parse!(expiry_warning: 7).expiry_warning == 7
    assert parse!(expiry_warning: false).expiry_warning == false
    assert parse!(key_log: "keys.log").key_log == "keys.log"

    for {name, bad} <- [
          watch_interval: 0,
          watch_interval: false,
          expiry_warning: 0,
          expiry_warning: true,
          expiry_warning: nil,
          key_log: :stderr,
          crl_check: true
        ] do
      assert problems([{name, bad}]) == [{[:tls, name], :invalid_value}], inspect({name, bad})
    end
  end

  test "what other libraries call it is told" do
    for {name, text} <- [
          ca_certs: "it is called cacertfile: ... here",
          cert_reqs: "it is called verify: :verify_peer or :verify_none here",
          check_hostname: "the name is checked unless verify_hostname: is false",
          server_hostname: "it is called verify_hostname: ...",
          ssl_version: "it is called versions: [...] here",
          ssl_context: "cacertfile:",
          keep_secrets: "key_log:",
          customize_hostname_check: "wildcards",
          tls_session_cache_size: "it is called session_cache: [size: ...] here",
          tls_session_cache_ttl: "it is called session_cache: [ttl: ...] here",
          tls_session_cache_enabled: "it is called session_cache: false or [...] here",
          reuse_sessions: "session_cache:",
          session_tickets: "session_cache:",
          depth: "leave it out",
          verify_fun: "no callback",
          fail_if_no_peer_cert: "it is for servers",
          secure_renegotiate: "leave it out",
          alpn_advertised_protocols: "leave it out",
          certs_keys: "it is called cert: ... and key: ... here",
          eccs: "it is called supported_groups: [...] here",
          cipers: "did you mean :ciphers?"
        ] do
      assert {_tls, [problem]} = parse([{name, "hunter2"}])
      assert %{path: [:tls, ^name], reason: :unknown_option} = problem
      assert problem.message =~ text
      refute problem.message =~ "hunter2"
    end
  end

  describe "source and files" do
    setup :tmp_dir

    setup %{tmp_dir: dir} do
      chain = Make.chain()

      %{
        chain: chain,
        options: [
          cacertfile: Make.write!(dir, "ca.pem", Make.pem(chain.root)),
          certfile: Make.write!(dir, "client.pem", Make.pem(chain.leaf)),
          keyfile: Make.write!(dir, "client.key", Make.key_pem(chain.key)),
          watch_interval: 500
        ]
      }
    end

    test "say what was read, and of what options", %{options: options} do
      tls = parse!(options)
      assert Map.keys(tls.files) -- Keyword.values(options) == []
      assert map_size(tls.files) == 3
      assert tls.source == options
      assert Map.keys(parse!(certfile: bundle(options)).files) == [options[:certfile]]
    end

    defp bundle(options) do
      File.write!(options[:certfile], File.read!(options[:keyfile]), [:append])
      options[:certfile]
    end

    test "hold no secret that shows", %{chain: chain} do
      {_type, der} = chain.key
      tls = parse!(cert: chain.leaf, key: chain.key)
      assert [cert: _, key: sealed] = tls.source
      assert is_function(sealed, 0)
      assert :binary.match(:erlang.term_to_binary(tls), der) == :nomatch
      assert sealed.() == chain.key

      for structs? <- [true, false] do
        text = inspect(tls, structs: structs?, limit: :infinity)
        refute text =~ inspect(der, limit: :infinity)
      end
    end

    test "are all that it needs to be read again", context do
      %{options: options, tmp_dir: dir} = context
      tls = parse!(options)

      other = Make.chain()
      Make.write!(dir, "ca.pem", Make.pem(other.root))
      Make.write!(dir, "client.pem", Make.pem(other.leaf))
      Make.write!(dir, "client.key", Make.key_pem(other.key))

      assert {:ok, reloaded} = TLS.reload(tls, [])
      assert reloaded.cacerts == [other.root]
      assert reloaded.cert_chain == [other.leaf]
      assert reloaded.key != tls.key

      # What is in the files is known by its hash.
      assert Map.keys(reloaded.files) == Map.keys(tls.files)
      for {file, hash} <- tls.files, do: assert(reloaded.files[file] != hash)

      anew = [:cacerts, :cert_chain, :key, :files]
      assert Map.drop(reloaded, anew) == Map.drop(tls, anew)
    end

    @tag skip: @openssl
    test "a password is there again when a key is", %{tmp_dir: dir} = context do
      %{options: options} = context
      arguments = ~w(pkcs8 -topk8 -v2 aes-256-cbc -passout pass:hunter2)
      encrypted = Make.openssl!(options[:keyfile], "encrypted.key", arguments)
      tls = parse!(Keyword.merge(options, keyfile: encrypted, password: "hunter2"))
      refute :erlang.term_to_binary(tls) =~ "hunter2"

      other = Make.chain()
      Make.write!(dir, "client.pem", Make.pem(other.leaf))
      Make.write!(dir, "client.key", Make.key_pem(other.key))
      Make.openssl!(options[:keyfile], "encrypted.key", arguments)

      assert {:ok, %{cert_chain: [leaf]}} = TLS.reload(tls, [])
      assert leaf == other.leaf
    end
  end

  describe "reload/3" do
    setup do
      %{chain: Make.chain(), other: Make.chain()}
    end

    defp reload(tls, changes), do: TLS.reload(tls, changes, fn -> ["other root"] end)

    test "takes changes over what was given", %{chain: chain, other: other} do
      tls = parse!(cacerts: [chain.root], versions: [:"tlsv1.3"])
      assert {:ok, changed} = reload(tls, cacerts: [other.root])
      assert %{cacerts: [root], versions: [:"tlsv1.3"]} = changed
      assert root == other.root

      # What was changed is what the next one starts from.
      assert {:ok, %{cacerts: [^root], versions: @supported}} =
               reload(changed, versions: @supported)
    end

    test "takes no check away", context do
      %{chain: chain, other: other, tmp_dir: dir} = Map.merge(context, tmp_dir(context))
      pin = :crypto.hash(:sha256, chain.leaf)
      file = Make.write!(dir, "ca.pem", Make.pem(chain.root))

      for {option, value} <- [pinned: pin, cacerts: [chain.root], cacertfile: file] do
        tls = parse!([{option, value}])
        assert {:error, [problem]} = reload(tls, [{option, nil}])
        assert %{path: [:tls, ^option], reason: :invalid_value} = problem
        assert problem.message =~ "restart"
      end

      # Not even beside another.
      tls = parse!(cacerts: [chain.root], pinned: pin)

      nothing =
        [pinned: nil, cacerts: nil, crlfile: nil, crls: nil, crl_check: nil] ++
          [versions: nil, ciphers: nil]

      assert {:error, problems} =
               reload(tls, [cacertfile: file, versions: [:"tlsv1.3"]] ++ nothing)

      assert problems |> Enum.map(& &1.path) |> Enum.sort() ==
               nothing |> Keyword.keys() |> Enum.sort() |> Enum.map(&[:tls, &1])

      assert {:ok, %{cacerts: [root], pins: [^pin]}} = reload(tls, cacerts: [other.root])
      assert root == other.root
    end

    test "takes our own key away, or its file for a certificate with the key", context do
      %{chain: chain, other: other, tmp_dir: dir} = Map.merge(context, tmp_dir(context))
      certificate = Make.write!(dir, "client.pem", Make.pem(chain.leaf))
      key = Make.write!(dir, "client.key", Make.key_pem(chain.key))
      bundle = Make.write!(dir, "bundle.pem", Make.pem(other.leaf) <> Make.key_pem(other.key))
      tls = parse!(cacerts: [chain.root], certfile: certificate, keyfile: key)

      assert {:error, [%{reason: :key_mismatch}]} = reload(tls, certfile: bundle)
      assert {:ok, %{cert_chain: [leaf]}} = reload(tls, certfile: bundle, keyfile: nil)
      assert leaf == other.leaf
      assert {:ok, %{cert_chain: [], key: nil}} = reload(tls, certfile: nil, keyfile: nil)
    end

    test "what is said in another way takes the place of what was", context do
      %{chain: chain, other: other} = context
      %{tmp_dir: dir} = tmp_dir(context)
      file = Make.write!(dir, "ca.pem", Make.pem(other.root))
      bundle = Make.write!(dir, "client.pem", Make.pem(other.leaf) <> Make.key_pem(other.key))

      tls = parse!(cacerts: [chain.root], cert: chain.leaf, key: chain.key)
      assert {:ok, changed} = reload(tls, cacertfile: file, certfile: bundle)
      assert Map.keys(changed.files) == Enum.sort([file, bundle])
      assert {changed.cacerts, changed.cert_chain} == {[other.root], [other.leaf]}

      assert {:ok, back} = reload(changed, cert: chain.leaf, key: chain.key)
      assert {Map.keys(back.files), back.cert_chain} == {[file], [chain.leaf]}
    end

    test "refuses what can't be changed while the cluster runs", %{chain: chain} do
      tls = parse!(cacerts: [chain.root])

      fixed = [
        verify: :verify_none,
        verify_hostname: "other.example",
        server_name_indication: "other.example",
        session_cache: false,
        watch_interval: 7,
        expiry_warning: 7,
        key_log: "keys.log"
      ]

      for {name, value} <- fixed do
        assert {:error, [problem]} = reload(tls, [{name, value}])
        assert %{path: [:tls, ^name], reason: :needs_restart} = problem
        assert problem.message =~ "restart"
      end

      assert {:error, problems} = reload(tls, fixed)
      assert length(problems) == length(fixed)
    end

    test "tells all that is wrong, and shows nothing", %{chain: chain} do
      tls = parse!(cacerts: [chain.root])
      changes = [cacertfile: "none.pem", pinned: "hunter", passwrd: "hunter2", versions: []]
      assert {:error, problems} = reload(tls, changes)

      assert problems |> Enum.map(&{&1.path, &1.reason}) |> Enum.sort() == [
               {[:tls, :cacertfile], :unreadable},
               {[:tls, :passwrd], :unknown_option},
               {[:tls, :pinned], :invalid_value},
               {[:tls, :versions], :invalid_value}
             ]

      refute inspect(problems) =~ "hunter2"

      for bad <- ["hunter2", false, %{password: "hunter2"}, [:hunter2]] do
        assert {:error, [%{path: [:tls], reason: :invalid_value}] = problems} = reload(tls, bad)
        refute inspect(problems) =~ "hunter2"
      end
    end
  end

  test "inspect leaves certificates and keys out" do
    text = inspect(parse!(true))
    assert text =~ "verify: :peer"
    refute text =~ "root"
    refute text =~ "key:"
  end

  test "options have the last word on verification over those of an environment" do
    trusted = [
      cacerts: ["DER"],
      pinned: <<1::256>>,
      crls: ["DER"],
      crl_check: :peer,
      verify_hostname: "a",
      versions: [:"tlsv1.3"]
    ]

    assert TLS.override(trusted, verify: :verify_none) ==
             [versions: [:"tlsv1.3"], verify: :verify_none]

    # A contradiction within stays one.
    both = [verify: :verify_none, cacerts: ["other"]]
    assert TLS.override(trusted, both) == [{:versions, [:"tlsv1.3"]} | both]

    for one <- [cacertfile: "ca.pem", cacerts: ["DER"], pinned: <<1::256>>, verify_hostname: "a"] do
      assert TLS.override([verify: :verify_none], [one]) == [one]
    end

    for other <- [versions: [:"tlsv1.2"], cacertfile: nil, verify_hostname: false] do
      assert TLS.override([verify: :verify_none], [other]) == [{:verify, :verify_none}, other]
    end

    assert TLS.override([cacerts: ["DER"]], cacertfile: "ca.pem") == [cacertfile: "ca.pem"]
  end
end
