defmodule Palladion.Integration.SecretsTest do
  @moduledoc """
  No secret shows: not in what is printed, reported, logged or dumped, whatever goes wrong.

  Each place is searched for a canary too, which stands there openly: a search that finds nothing has to find that.
  """

  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1, openssl!: 1, openssl!: 3]

  alias Palladion.Config
  alias Palladion.Test.{ChildVM, Leaks, SecretsChild, SecretsOfLogins, Testkit}

  @moduletag timeout: 180_000
  @moduletag :capture_log

  setup :tmp_dir

  setup %{tmp_dir: dir} do
    random = fn name -> name <> "-" <> Base.url_encode64(:crypto.strong_rand_bytes(18)) end

    secrets = %{
      password: random.("password"),
      wrong_password: random.("wrong"),
      key_password: random.("key"),
      aws_secret: random.("aws"),
      session_token: random.("token")
    }

    server = Testkit.start_server(client_auth: :required, user: "ann", password: secrets.password)

    key = Path.join(dir, "client.key")
    File.cp!(server.client_keyfile, key)

    encrypted_key =
      openssl!(
        key,
        "encrypted.key",
        ~w(pkcs8 -topk8 -v2 aes-256-cbc -passout) ++ ["pass:" <> secrets.key_password]
      )

    # Too short for the native library, which is the one to refuse it.
    weak_key = Path.join(dir, "weak.key")
    weak_certificate = Path.join(dir, "weak.crt")

    openssl!(
      ~w(req -x509 -newkey rsa:1024 -nodes -subj /CN=weak -days 1 -keyout) ++
        [weak_key, "-out", weak_certificate]
    )

    tls = [cacertfile: server.cacertfile, certfile: server.client_certfile]
    options = [contact_points: [{server.host, server.port}], pool: [size: 2]]
    auth = [username: "ann", password: secrets.password]
    plain = [tls: tls ++ [keyfile: key], auth: auth] ++ options

    encrypted =
      [
        tls: tls ++ [keyfile: encrypted_key, password: secrets.key_password],
        auth: [username: "ann", password: String.to_charlist(secrets.password)]
      ] ++ options

    keystore = Path.join(dir, "client.p12")

    openssl!(
      ~w(pkcs12 -export -in) ++
        [server.client_certfile, "-inkey", key, "-out", keystore] ++
        ["-passout", "pass:" <> secrets.key_password]
    )

    in_memory =
      [tls: [cacertfile: server.cacertfile] ++ in_memory(server.client_certfile, key), auth: auth] ++
        options

    from_keystore =
      [
        tls: [
          cacertfile: server.cacertfile,
          certfile: keystore,
          password: secrets.key_password
        ],
        auth: auth
      ] ++ options

    logins = SecretsOfLogins.servers(dir, secrets)

    %{
      secrets: Map.values(secrets) ++ Leaks.key_secrets(key) ++ Leaks.key_secrets(weak_key),
      good:
        [plain: plain, encrypted: encrypted, in_memory: in_memory, keystore: from_keystore] ++
          SecretsOfLogins.good(plain, logins, secrets),
      bad:
        bad(plain, encrypted, secrets, {weak_certificate, weak_key}) ++
          bad_identities(in_memory, from_keystore, secrets) ++
          SecretsOfLogins.bad(plain, logins, secrets),
      chain: SecretsOfLogins.chain(logins, secrets),
      updates: SecretsOfLogins.updates(dir, secrets),
      # As long as the longest password.
      canary: random.("the-canary")
    }
  end

  # What is wrong is wrong near a secret, or the secret itself.
  defp bad(plain, encrypted, secrets, {weak_certificate, weak_key}) do
    %{password: password, wrong_password: wrong, key_password: key_password} = secrets

    [
      misspelt: put_in(plain[:auth], username: "ann", pasword: password),
      misspelt_section: [atuh: [password: password]] ++ plain,
      misplaced: [password: password] ++ plain,
      misplaced_key_password: [key_password: key_password] ++ encrypted,
      no_list: put_in(plain[:auth], password),
      no_keyword_list: put_in(plain[:auth], ["ann", password]),
      improper: put_in(plain[:auth], [:ann | password]),
      no_string: put_in(plain[:auth][:password], {:password, password}),
      no_username: put_in(plain[:auth], password: password),
      zero: put_in(plain[:auth][:password], password <> <<0>>),
      function: put_in(plain[:auth][:password], Function.capture(:erlang, :make_ref, 0)),
      without_tls: put_in(plain[:tls], false),
      tls_no_list: put_in(encrypted[:tls], key_password),
      wrong_key_password: put_in(encrypted[:tls][:password], wrong),
      no_key_password: put_in(encrypted[:tls][:password], nil),
      key_as_certificate: put_in(plain[:tls][:certfile], plain[:tls][:keyfile]),
      key_as_authority: put_in(plain[:tls][:cacertfile], plain[:tls][:keyfile]),
      key_of_another: put_in(plain[:tls][:keyfile], weak_key),
      weak_key:
        plain |> put_in([:tls, :certfile], weak_certificate) |> put_in([:tls, :keyfile], weak_key),
      refused: [sync_connect: 1_000] ++ put_in(plain[:auth][:password], wrong),
      other_problem: [pool: [size: -1]] ++ encrypted,
      no_keywords_at_all: password
    ]
  end

  # As an application has them that gets them from a vault.
  defp in_memory(certfile, keyfile) do
    [{:Certificate, certificate, _}] = certfile |> File.read!() |> :public_key.pem_decode()
    [{type, key, :not_encrypted}] = keyfile |> File.read!() |> :public_key.pem_decode()
    [cert: certificate, key: {type, key}]
  end

  defp bad_identities(in_memory, from_keystore, secrets) do
    {type, key} = in_memory[:tls][:key]

    [
      bare_key: put_in(in_memory[:tls][:key], key),
      key_of_no_type: put_in(in_memory[:tls][:key], {:hunter, key}),
      cut_key: put_in(in_memory[:tls][:key], {type, binary_part(key, 0, byte_size(key) - 1)}),
      key_and_password: put_in(in_memory[:tls][:password], secrets.key_password),
      misspelt_key: update_in(in_memory[:tls], &([kye: &1[:key]] ++ Keyword.delete(&1, :key))),
      wrong_keystore_password: put_in(from_keystore[:tls][:password], secrets.wrong_password),
      no_keystore_password: put_in(from_keystore[:tls][:password], nil),
      keystore_and_key: put_in(from_keystore[:tls][:key], {type, key})
    ]
  end

  describe "here" do
    test "configuration shows none, sealed or loaded", context do
      for {name, options} <- context.good do
        {:ok, config} = Config.load([name: name] ++ options)
        assert_none([config, Config.to_native(config)], context.secrets, :closures_too)
        assert_none([Config.seal(options), Palladion.child_spec(options)], context.secrets)
      end

      assert context.good |> printed() |> Leaks.forms(hd(context.secrets)) != []
    end

    test "errors of a configuration show none", context do
      for {name, options} <- context.bad do
        options = if is_list(options), do: [name: name] ++ options, else: options
        assert_none([Config.seal(options)], context.secrets)

        case Config.load(options) do
          {:error, error} ->
            assert_none([error, Exception.message(error)], context.secrets, :closures_too)

          # Refused by the native library, or by the server.
          {:ok, config} ->
            assert name in [:weak_key, :refused] or name in SecretsOfLogins.bad_at_login()
            assert_none([config], context.secrets, :closures_too)
        end
      end
    end

    test "errors of a reload show none", context do
      {:ok, config} = Config.load([name: :encrypted] ++ context.good[:encrypted])

      for {_name, options} <- context.bad, is_list(options), options[:tls] != false do
        case Config.reload_tls(:encrypted, config.tls, options[:tls]) do
          {:error, error} ->
            assert_none([error, Exception.message(error)], context.secrets, :closures_too)

          {:ok, tls} ->
            assert_none([tls, Config.TLS.to_native(tls)], context.secrets, :closures_too)
        end
      end
    end

    defp assert_none(terms, secrets, closures \\ :but_not_closures) do
      text = printed(terms)
      assert Leaks.found(text, secrets) == []

      if closures == :closures_too do
        binary = Leaks.text(:erlang.term_to_binary(terms))
        assert Leaks.found(binary, secrets) == []
      end
    end

    defp printed(term) do
      [
        inspect(term, limit: :infinity, printable_limit: :infinity),
        inspect(term, limit: :infinity, printable_limit: :infinity, structs: false),
        :unicode.characters_to_binary(:io_lib.format(~c"~tp ~w", [term, term]))
      ]
      |> IO.iodata_to_binary()
      |> Leaks.text()
    end
  end

  describe "a VM in which everything goes wrong" do
    test "shows none in states, specifications, dictionaries, messages, tables, reports and its dump",
         %{tmp_dir: dir, secrets: secrets, canary: canary} = context do
      seen = Path.join(dir, "seen")
      File.mkdir!(seen)
      given = [given: context.good[:encrypted]]
      %{good: good, bad: bad, chain: chain, updates: updates} = context
      file = write_secrets(dir, good ++ given ++ bad ++ chain ++ updates)

      argument = %{
        dir: seen,
        canary: canary,
        secrets: file,
        good: Keyword.keys(good) ++ [:chain],
        given: [:given],
        bad: Keyword.keys(bad),
        # A key with a password, one in memory, and one in a keystore, each in the place of the one before.
        reload: {:plain, [:encrypted, :in_memory, :keystore]},
        crash_in_reload: {:keystore, [:in_memory, :keystore]},
        # Each form of a login in the place of the one before.
        update: {:plain, Keyword.keys(updates)},
        crash_in_update: {:plain, updates |> Keyword.keys() |> Enum.take(2)}
      }

      vm = start(argument, "main")
      assert {:failed, failed} = ChildVM.receive(vm)
      assert Keyword.keys(context.bad) -- failed == []
      assert ChildVM.receive(vm) == {:reloaded, [:ok, :ok, :ok]}
      # In a process that crashed in the middle of it.
      assert ChildVM.receive(vm) == {:reloaded, [:ok, :ok]}
      assert ChildVM.receive(vm) == {:updated, for(_ <- updates, do: {:ok, :ok})}
      assert ChildVM.receive(vm) == {:updated, [:ok, :ok]}
      assert ChildVM.receive(vm) == :done

      for name <- File.ls!(seen) do
        seen
        |> Path.join(name)
        |> File.read!()
        |> Leaks.text()
        |> assert_only_canary(name, canary, secrets)
      end

      # Four looks at seven kinds, errors of reloads and of updates, and the log.
      assert length(File.ls!(seen)) == 31
      log = File.read!(Path.join(seen, "log"))
      for kind <- ~w(crash_report supervisor_report progress), do: assert(log =~ kind)

      assert_dump(vm, canary, secrets)
    end

    test "shows none in its dump while the configuration is being read", context do
      file = write_secrets(context.tmp_dir, context.good)
      argument = %{canary: context.canary, secrets: file, name: :encrypted}
      vm = start(argument, "main_while_reading")
      assert ChildVM.receive(vm) == :done
      assert_dump(vm, context.canary, context.secrets)
    end
  end

  test "a VM shows none in its dump while logins have them in hand", context do
    file = write_secrets(context.tmp_dir, context.good)
    argument = %{canary: context.canary, secrets: file, names: [:plain, :authenticator]}
    vm = start(argument, "main_while_logging_in")
    assert ChildVM.receive(vm) == :done
    assert_dump(vm, context.canary, context.secrets)
  end

  defp write_secrets(dir, secrets) do
    path = Path.join(dir, "secrets")
    File.write!(path, :erlang.term_to_binary(secrets))
    path
  end

  defp start(argument, main) do
    vm =
      ChildVM.start(SecretsChild, argument, main: main, erl: ["-logger handle_sasl_reports true"])

    on_exit(fn -> ChildVM.clean_up(vm) end)
    vm
  end

  defp assert_dump(vm, canary, secrets) do
    ChildVM.send(vm, :dump)
    assert {1, _ms} = ChildVM.await_exit(vm)
    dump = File.read!(vm.crash_dump)
    assert dump =~ "Slogan: planted"
    dump = Leaks.dump(dump)
    assert_only_canary(dump, "the dump", canary, secrets)
    # In a binary, and in a list.
    assert [:list, _ | _] = Leaks.forms(dump, canary)
  end

  defp assert_only_canary(text, where, canary, secrets) do
    assert Leaks.forms(text, canary) != [],
           "the canary is not in #{where}: the search is of no use"

    found = Leaks.found(text, secrets)
    assert found == [], "#{where} shows #{inspect(found)}"
  end
end
