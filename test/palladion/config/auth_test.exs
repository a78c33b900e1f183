defmodule Palladion.Config.AuthTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1, write!: 3]

  alias Palladion.{Config, Secret}
  alias Palladion.Config.{Auth, Seal}
  alias Palladion.Test.Certificates, as: Make

  @login [username: "app", password: "hunter2"]

  # Only what must be there of a Palladion.Authenticator.
  defmodule Whole do
    def new(_endpoint, options), do: {:ok, options}
    def initial_response(state), do: {:ok, nil, state}
    def evaluate_challenge(_challenge, state), do: {:ok, nil, state}
  end

  defmodule Half do
    def new(_endpoint, options), do: {:ok, options}
  end

  def credentials(_endpoint, token), do: [username: "app", password: token]

  defp problems(options, plaintext? \\ false) do
    {_auth, problems} = Auth.parse(options, plaintext?)
    refute inspect(problems) =~ "hunter2"
    Enum.map(problems, &{&1.path, &1.reason})
  end

  defp message(options, plaintext? \\ false) do
    assert {_auth, [problem]} = Auth.parse(options, plaintext?)
    refute problem.message =~ "hunter2"
    problem.message
  end

  defp parse!(options, plaintext? \\ false) do
    assert {%Auth{} = auth, []} = Auth.parse(options, plaintext?)
    refute shows_secret?(auth)
    assert Auth.to_native(auth).method == auth.method
    auth
  end

  # As a state shows it, also byte by byte or with closures opened.
  defp shows_secret?(term) do
    inspect(term, structs: false, limit: :infinity) =~ "hunter2" or
      :binary.match(:erlang.term_to_binary(term), "hunter2") != :nomatch
  end

  defp static(options) do
    assert {:sasl, %{credentials: {:static, static}}} = parse!(options).method
    static
  end

  test "is off without options" do
    assert Auth.parse(nil, false) == {nil, []}
  end

  describe "by name and password" do
    test "wraps the password" do
      auth = parse!(@login)
      assert {:sasl, %{mechanisms: [], negotiate: false, credentials: credentials}} = auth.method
      assert {:static, %{username: "app", password: ref, authorization_id: nil}} = credentials
      assert is_reference(ref)
      assert %{ask: nil, require_auth: true, timeout: 5_000, allowed_authenticators: []} = auth

      assert Enum.sort(Map.keys(Auth.to_native(auth))) ==
               [:allowed_authenticators, :method, :require_auth, :timeout]

      assert inspect(auth) =~ ~s(username: "app")
      refute inspect(auth) =~ "source"
    end

    test "acts as another role" do
      assert %{authorization_id: "reports"} = static([authorization_id: "reports"] ++ @login)

      assert problems([authorization_id: ""] ++ @login) == [
               {[:auth, :authorization_id], :invalid_value}
             ]
    end

    test "takes the password as a secret, a charlist or a function" do
      secret = Secret.wrap("hunter2")
      assert %{password: ref} = static(username: "app", password: secret)
      assert ref == secret.ref

      for password <- [~c"hunter2", fn -> "hunter2" end, fn -> ~c"hunter2" end, fn -> secret end] do
        assert {%{method: {:sasl, _}}, []} =
                 Auth.parse([username: "app", password: password], false)
      end
    end

    test "wants both or neither" do
      assert problems([]) == [{[:auth], :required}]
      assert problems(username: nil, password: nil) == [{[:auth], :required}]
      assert problems(username: "app") == [{[:auth, :password], :required}]
      assert problems(username: "app", password: nil) == [{[:auth, :password], :required}]
      assert problems(password: "hunter2") == [{[:auth, :username], :required}]
    end

    test "has one problem for one mistake" do
      for {options, problem} <- [
            {[username: :app, password: "hunter2"], {[:auth, :username], :invalid_value}},
            {[username: "", password: "hunter2"], {[:auth, :username], :invalid_value}},
            {[username: "a\0b", password: "hunter2"], {[:auth, :username], :invalid_value}},
            {[username: "app", password: ""], {[:auth, :password], :empty}},
            {[username: "app", password: 17], {[:auth, :password], :invalid_value}},
            {[username: "app", password: "hunter2\0"], {[:auth, :password], :invalid_value}},
            {[username: "app", password: "hunter2\xFF"], {[:auth, :password], :invalid_value}}
          ] do
        assert problems(options) == [problem]
        assert problems(Seal.seal_auth(options)) == [problem]
      end
    end

    test "a password function that fails says how, and no more" do
      for {function, text} <- [
            {fn -> raise "hunter2" end, "raised RuntimeError"},
            {fn -> throw("hunter2") end, "ended with throw"},
            {fn -> exit("hunter2") end, "ended with exit"}
          ] do
        assert {_, [problem]} = Auth.parse([username: "app", password: function], false)
        assert %{path: [:auth, :password], reason: :function_failed} = problem
        assert problem.message =~ text
        refute problem.message =~ "hunter2"
      end

      for bad <- [fn -> nil end, fn -> fn -> "hunter2" end end, fn -> {:file, "none"} end] do
        assert problems(username: "app", password: bad) == [{[:auth, :password], :invalid_value}]
      end
    end
  end

  describe "files" do
    setup :tmp_dir

    test "are read at each login, and once before", %{tmp_dir: dir} do
      username = write!(dir, "username", "app\n")
      password = write!(dir, "password", "hunter2\n")

      for {options, from} <- [
            {[username: {:file, username}, password: {:file, password}],
             {:login, {:file, username}, {:file, password}}},
            {[username: "app", password: {:file, password}], {:login, "app", {:file, password}}},
            {[username: {:file, username}, password: "hunter2"],
             {:login, {:file, username}, "hunter2"}},
            {[username: {:file, username}, password: fn -> "hunter2" end],
             {:login, {:file, username}, "hunter2"}}
          ],
          options <- [options, Seal.seal_auth(options)] do
        auth = parse!([authorization_id: "reports"] ++ options)
        assert {:sasl, %{credentials: {:ask, nil}}} = auth.method
        assert {:credentials, sealed} = auth.ask
        assert Seal.reveal(sealed) == %{from: from, authorization_id: "reports"}
      end
    end

    test "that can't be used are told at the start", %{tmp_dir: dir} do
      empty = write!(dir, "empty", "\n")
      lines = write!(dir, "lines", "hunter2\nhunter2\n")
      missing = Path.join(dir, "missing")

      for {path, reason} <- [
            {empty, :empty},
            {lines, :malformed},
            {missing, :unreadable},
            {dir, :unreadable},
            {:hunter2, :invalid_value}
          ] do
        assert problems(username: "app", password: {:file, path}) == [
                 {[:auth, :password], reason}
               ]

        assert problems(username: {:file, path}, password: "hunter2") ==
                 [{[:auth, :username], reason}]
      end

      assert message(username: "app", password: {:file, missing}) =~
               "#{inspect(missing)} can't be read: no such file"
    end

    test "a name from a file needs a password that can be read", %{tmp_dir: dir} do
      username = {:file, write!(dir, "username", "app\n")}
      secret = Secret.wrap("hunter2")
      assert problems(username: username, password: secret) == [{[:auth, :password], :conflict}]

      assert message(username: username, password: secret) =~
               "give the password again together with username: {:file, ...}"
    end

    test "and a password may come from two places", %{tmp_dir: dir} do
      username = {:file, write!(dir, "username", "app\n")}
      Application.put_env(:palladion, __MODULE__, auth: [username: username])
      on_exit(fn -> Application.delete_env(:palladion, __MODULE__) end)

      assert {:ok, %{auth: auth}} =
               Config.load(
                 otp_app: :palladion,
                 name: __MODULE__,
                 contact_points: ["db1"],
                 auth: [password: "hunter2"]
               )

      assert {:credentials, sealed} = auth.ask
      assert %{from: {:login, ^username, "hunter2"}} = Seal.reveal(sealed)
    end

    test "with both are as cqlsh has them", %{tmp_dir: dir} do
      file = write!(dir, "credentials", "[auth]\nusername = app\npassword = hunter2\n")
      assert {:credentials, sealed} = parse!(credentials: {:file, file}).ask
      assert Seal.reveal(sealed) == %{from: {:file, file}, authorization_id: nil}

      half = write!(dir, "half", "username = app\n")
      assert problems(credentials: {:file, half}) == [{[:auth, :credentials], :required}]
    end
  end

  describe "credentials:" do
    test "is a function of the endpoint, not called yet, and its secrets are hidden" do
      token = "hunter2"
      function = fn _endpoint -> [username: "app", password: token] end

      for callback <- [function, {__MODULE__, :credentials, [token]}],
          options <- [[credentials: callback], Seal.seal_auth(credentials: callback)] do
        auth = parse!([authorization_id: "reports"] ++ options)
        assert {:sasl, %{mechanisms: [], credentials: {:ask, nil}}} = auth.method
        assert {:credentials, sealed} = auth.ask
        assert Seal.reveal(sealed) == %{from: callback, authorization_id: "reports"}
      end
    end

    test "is nothing else" do
      for bad <- [
            fn -> "hunter2" end,
            fn _, _ -> "hunter2" end,
            {__MODULE__, :credentials, []},
            {__MODULE__, :credentials, ["hunter2" | "hunter2"]},
            {MyApp.Nowhere, :credentials, ["hunter2"]},
            [username: "app", password: "hunter2"],
            "hunter2"
          ] do
        assert problems(credentials: bad) == [{[:auth, :credentials], :invalid_value}]

        assert problems(Seal.seal_auth(credentials: bad)) ==
                 [{[:auth, :credentials], :invalid_value}]
      end

      assert message(credentials: {__MODULE__, :credentials, []}) =~ "credentials/1"
    end
  end

  describe "mechanism:" do
    test "one is fixed, several are negotiated" do
      for {mechanism, names, negotiate} <- [
            {nil, [], false},
            {:scram_sha_256, [:scram_sha_256], false},
            {[:scram_sha_256, :scram_sha_1, :scram_sha_256], [:scram_sha_256, :scram_sha_1],
             true},
            {[:plain], [:plain], true}
          ] do
        assert {:sasl, %{mechanisms: ^names, negotiate: ^negotiate}} =
                 parse!([mechanism: mechanism] ++ @login).method
      end
    end

    test "some need no password" do
      for {mechanism, names} <- [external: [:external], anonymous: [:anonymous]] do
        assert parse!(mechanism: mechanism, authorization_id: "me").method ==
                 {:sasl, %{mechanisms: names, negotiate: false, credentials: {:none, "me"}}}

        assert parse!(mechanism: [mechanism]).method ==
                 {:sasl, %{mechanisms: names, negotiate: true, credentials: {:none, nil}}}

        assert problems([mechanism: mechanism] ++ @login) == [{[:auth, :mechanism], :conflict}]
      end

      assert problems([mechanism: [:external, :plain]] ++ @login) ==
               [{[:auth, :mechanism], :conflict}]
    end

    test "others are told, with what may be meant" do
      for bad <- [[], [:plain | :plain], [:plain, :gssapi], :gssapi, 17, {:plain, []}] do
        assert problems([mechanism: bad] ++ @login) == [{[:auth, :mechanism], :invalid_value}]
      end

      assert problems(mechanism: :extrenal) == [{[:auth, :mechanism], :invalid_value}]
      assert message([mechanism: :scram_sha256] ++ @login) =~ "did you mean :scram_sha_256?"
      assert message([mechanism: "PLAIN"] ++ @login) =~ "did you mean :plain?"
      assert message([mechanism: ["SCRAM-SHA-1"]] ++ @login) =~ "did you mean :scram_sha_1?"
    end

    test "the certificate's needs TLS, and a certificate" do
      assert problems([mechanism: :external], true) == [{[:auth, :mechanism], :conflict}]

      for {tls, paths} <- [
            {true, [[:auth, :mechanism]]},
            {[], [[:auth, :mechanism]]},
            {[certfile: "client.pem"], []},
            {[cert: <<1>>], []},
            {false, []},
            {"nonsense", []}
          ] do
        auth = parse!(mechanism: :external)
        assert Enum.map(Auth.identity(auth, tls), & &1.path) == paths
      end

      assert Auth.identity(parse!(@login), true) == []
      assert Auth.identity(nil, true) == []
    end

    test "a cluster with such a login has one or doesn't start", context do
      %{tmp_dir: dir} = tmp_dir(context)
      %{root: root} = chain = Make.chain()
      pem = Make.pem(chain.leaf) <> Make.key_pem(chain.key)
      certificate = write!(dir, "client.pem", pem)
      options = fn tls -> [name: MyApp.DB, tls: tls, auth: [mechanism: :external]] end

      assert {:error, %{problems: [%{reason: :missing_certificate}]}} =
               Config.parse(options.(cacerts: [root]))

      assert {:ok, %{auth: %Auth{}}} =
               Config.parse(options.(cacerts: [root], certfile: certificate))

      assert {:error, %{problems: [%{reason: :conflict}]}} = Config.parse(options.(false))
    end
  end

  describe "authenticator:" do
    test "is a module, whose options are hidden" do
      for {value, options} <- [
            {Whole, []},
            {{Whole, nil}, nil},
            {{Whole, [keytab: "hunter2"]}, [keytab: "hunter2"]}
          ],
          given <- [[authenticator: value], Seal.seal_auth(authenticator: value)] do
        auth = parse!(given)
        assert auth.method == {:custom, nil}
        assert {:authenticator, Whole, sealed} = auth.ask
        assert Seal.reveal(sealed) == options
      end
    end

    test "has what is asked of it" do
      assert problems(authenticator: Half) == [{[:auth, :authenticator], :invalid_value}]
      assert message(authenticator: Half) =~ "no initial_response/1 and no evaluate_challenge/2"
      assert problems(authenticator: MyApp.No) == [{[:auth, :authenticator], :unknown_module}]
      assert message(authenticator: PlainTextAuthProvider) =~ "username: and password:"

      for bad <- ["hunter2", true, {"hunter2", []}, {Whole, 1, 2}, fn -> Whole end] do
        assert problems(authenticator: bad) == [{[:auth, :authenticator], :invalid_value}]
      end
    end

    test "leaves nothing to SASL" do
      assert problems(authenticator: Whole, mechanism: :plain, authorization_id: "me") ==
               [{[:auth, :mechanism], :conflict}, {[:auth, :authorization_id], :conflict}]
    end
  end

  test "one way to log in excludes the others, whatever else is wrong with them" do
    for {options, option, first} <- [
          {[username: "app", credentials: 17], :credentials, "username"},
          {[password: "hunter2", authenticator: Half], :authenticator, "password"},
          {[credentials: 17, sigv4: 17], :sigv4, "credentials"},
          {[sigv4: true, mechanism: :external], :mechanism, "sigv4"},
          {[authenticator: Whole, mechanism: :anonymous], :mechanism, "authenticator"}
        ] do
      assert problems(options) == [{[:auth, option], :conflict}]
      assert message(options) == "can't be given together with #{first}:"
    end
  end

  describe "without TLS" do
    @refused [{[:auth, :allow_plaintext_password], :plaintext_password}]

    test "a login needs the user's word, unless nothing is told by it" do
      function = fn _endpoint -> nil end

      for {options, refused} <- [
            {@login, @refused},
            {[credentials: function], @refused},
            {[authenticator: Whole], @refused},
            {[sigv4: [region: "eu-central-1"]], @refused},
            {[mechanism: :plain] ++ @login, @refused},
            {[mechanism: :cram_md5] ++ @login, @refused},
            {[mechanism: :digest_md5, credentials: function], @refused},
            {[mechanism: [:scram_sha_256, :plain]] ++ @login, @refused},
            {[mechanism: :scram_sha_1] ++ @login, []},
            {[mechanism: [:scram_sha_256, :scram_sha_1], credentials: function], []},
            {[mechanism: :anonymous], []}
          ] do
        assert problems(options, true) == refused
        assert problems([allow_plaintext_password: true] ++ options, true) == []
        assert problems(options, false) == []

        auth = parse!([allow_plaintext_password: true] ++ options, true)
        assert Enum.map(Auth.warnings(auth), &elem(&1, 0)) == Enum.map(refused, &elem(&1, 0))
      end

      assert Auth.warnings(nil) == []
    end

    test "what would be told is named" do
      assert message(@login, true) =~ "the password would cross"
      assert message([mechanism: :cram_md5] ++ @login, true) =~ "a digest that"
      assert message([authenticator: Whole], true) =~ "what the authenticator sends would cross"
    end
  end

  test "class names are strings" do
    assert parse!([allowed_authenticators: ["com.example.A"]] ++ @login).allowed_authenticators ==
             ["com.example.A"]

    for bad <- ["com.example.A", [:a], [""], ["a" | "b"], nil] do
      assert problems([allowed_authenticators: bad] ++ @login) ==
               [{[:auth, :allowed_authenticators], :invalid_value}]
    end
  end

  test "what a secret may have been given to by mistake is not shown" do
    secret = "hunter2"

    for {name, value} <- [
          mechanism: secret,
          mechanism: [password: secret],
          mechanism: [:plain, secret],
          username: {"ann", secret},
          username: [secret],
          authorization_id: [secret],
          timeout: secret,
          require_auth: secret,
          allow_plaintext_password: secret,
          allowed_authenticators: {secret},
          sigv4: [region: secret],
          sigv4: [region: {secret}],
          sigv4: [region: "eu-west-1", profile: [secret]]
        ],
        given <- [[{name, value}], Seal.seal_auth([{name, value}])] do
      login = if name == :sigv4, do: [], else: @login
      assert {_auth, [_ | _] = problems} = Auth.parse(Keyword.merge(login, given), false)
      refute inspect(problems) =~ secret
      refute inspect(problems) =~ "#Function"
    end

    assert message([timeout: 0] ++ @login) =~ "got: 0"
    assert message([mechanism: :gssapi] ++ @login) =~ "got: :gssapi"
    assert message(username: :app, password: secret) =~ "got: :app"
  end

  test "an answer must come within the login" do
    options = &[name: MyApp.DB, contact_points: ["db1"], login_timeout: &1, auth: &2 ++ @login]

    for {login, given, timeout} <- [
          {10_000, [], 5_000},
          {5_000, [], 4_000},
          {1, [], 1},
          {5_000, [timeout: 4_999], 4_999},
          {10_000, [timeout: 9_000], 9_000}
        ] do
      assert {:ok, %{auth: %{timeout: ^timeout}}} = Config.load(options.(login, given))
    end

    for timeout <- [5_000, 5_001] do
      assert {:error, %{problems: [problem]}} = Config.load(options.(5_000, timeout: timeout))
      assert %{path: [:auth, :timeout], reason: :conflict} = problem
      assert problem.message =~ "less than login_timeout:, which is 5000 ms"
    end
  end

  test "is inspected without names of keys" do
    sigv4 = [region: "eu-west-1", access_key_id: "AKIDEXAMPLE", secret_access_key: "hunter2"]
    auth = parse!(sigv4: sigv4)
    assert {:sigv4, %{credentials: {:static, %{access_key_id: "AKIDEXAMPLE"}}}} = auth.method
    refute inspect(auth, limit: :infinity) =~ "AKIDEXAMPLE"
  end

  test "what is no keyword list is not shown" do
    for bad <- ["hunter2", true, {"app", "hunter2"}, %{password: "hunter2"}, ["hunter2"]] do
      assert problems(bad) == [{[:auth], :invalid_value}]
    end
  end

  test "names of other drivers are told ours" do
    for {name, text} <- [
          user: "it is called username: ... here",
          region_name: "it is called sigv4: [region: ...] here",
          authorizationid: "did you mean :authorization_id?",
          password_file: "it is called password: {:file, path} here"
        ] do
      assert message([{name, "hunter2"}] ++ @login) == "unknown option, #{text}"
    end
  end
end
