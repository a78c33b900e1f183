defmodule Palladion.Config.IdentityTest do
  use ExUnit.Case, async: true

  import Palladion.Test.Certificates, only: [tmp_dir: 1]

  alias Palladion.Config.{Identity, Seal}
  alias Palladion.Secret
  alias Palladion.Test.Certificates, as: Make

  @openssl System.find_executable("openssl") == nil and "the openssl command is not installed"

  setup :tmp_dir

  setup_all do
    %{chain: Make.chain(), other: Make.chain()}
  end

  setup %{tmp_dir: dir, chain: chain} do
    %{
      certificate: Make.write!(dir, "client.pem", Make.pem([chain.leaf, chain.intermediate])),
      key: Make.write!(dir, "client.key", Make.key_pem(chain.key))
    }
  end

  defp parse(options) do
    [certfile: nil, keyfile: nil, cert: nil, key: nil, password: nil]
    |> Keyword.merge(options)
    |> Map.new()
    |> Identity.parse()
  end

  defp problems(options) do
    assert {{[], nil}, problems} = parse(options)
    refute inspect(problems) =~ "hunter2"
    Enum.map(problems, &{&1.path, &1.reason})
  end

  defp chain_of(options) do
    assert {{chain, {format, %Secret{}}}, []} = parse(options)
    {chain, format}
  end

  test "none is fine" do
    assert parse([]) == {{[], nil}, []}
  end

  test "a certificate with its chain, and its key", context do
    %{chain: chain, tmp_dir: dir} = context

    assert chain_of(certfile: context.certificate, keyfile: context.key) ==
             {[chain.leaf, chain.intermediate], :sec1}

    der = Make.write!(dir, "client.der", chain.leaf)
    key = Make.write!(dir, "key.der", elem(chain.key, 1))
    assert chain_of(certfile: der, keyfile: key) == {[chain.leaf], :sec1}
  end

  test "both in one file, in any order", %{chain: chain, tmp_dir: dir} do
    certificate = Make.pem([chain.leaf])
    key = Make.key_pem(chain.key, :pkcs8)

    for content <- [certificate <> key, key <> certificate] do
      file = Make.write!(dir, "bundle.pem", content)
      assert chain_of(certfile: file) == {[chain.leaf], :pkcs8}
      assert chain_of(certfile: file, keyfile: file) == {[chain.leaf], :pkcs8}
    end
  end

  @tag skip: @openssl
  test "an encrypted key", %{certificate: certificate, key: key, chain: chain} do
    encrypted =
      Make.openssl!(key, "encrypted.key", ~w(pkcs8 -topk8 -v2 aes-256-cbc -passout pass:hunter2))

    for password <- ["hunter2", ~c"hunter2", fn -> "hunter2" end, fn -> ~c"hunter2" end] do
      assert chain_of(certfile: certificate, keyfile: encrypted, password: password) ==
               {[chain.leaf, chain.intermediate], :sec1}
    end

    for {password, path, reason} <- [
          {nil, :password, :missing_password},
          {"hunter3", :password, :wrong_password},
          {"", :password, :empty},
          {:hunter2, :password, :invalid_value},
          {fn -> raise "hunter2" end, :password, :function_failed},
          {Secret.wrap("hunter2"), :password, :invalid_value}
        ] do
      assert problems(certfile: certificate, keyfile: encrypted, password: password) ==
               [{[:tls, path], reason}]
    end
  end

  test "one without the other", %{certificate: certificate, key: key} do
    assert problems(certfile: certificate) == [{[:tls, :certfile], :missing_key}]
    assert problems(keyfile: key) == [{[:tls, :keyfile], :missing_certificate}]
    assert problems(password: "hunter2") == [{[:tls, :password], :conflict}]
  end

  test "another certificate's key", context do
    other = Make.write!(context.tmp_dir, "other.key", Make.key_pem(context.other.key))

    assert problems(certfile: context.certificate, keyfile: other) ==
             [{[:tls, :keyfile], :key_mismatch}]
  end

  test "a chain in the wrong order", %{chain: chain, key: key, tmp_dir: dir} do
    file = Make.write!(dir, "order.pem", Make.pem([chain.intermediate, chain.leaf]))

    assert problems(certfile: file, keyfile: key) ==
             [{[:tls, :certfile], :certificate_order}]
  end

  test "both bad files are told, with their names", %{tmp_dir: dir} do
    certificate = Make.write!(dir, "bad.pem", "")
    key = Path.join(dir, "none.key")

    assert {_, [first, last]} = parse(certfile: certificate, keyfile: key)
    assert %{path: [:tls, :certfile], reason: :empty_file} = first
    assert %{path: [:tls, :keyfile], reason: :unreadable} = last
    assert first.message =~ "bad.pem"
    assert last.message =~ "none.key"
  end

  test "one bad file is one problem", %{tmp_dir: dir} do
    assert problems(certfile: Path.join(dir, "none.pem")) == [{[:tls, :certfile], :unreadable}]
  end

  test "a key where the certificate belongs", %{key: key} do
    assert problems(certfile: key, keyfile: key) == [{[:tls, :certfile], :no_certificate}]
  end

  describe "in memory" do
    test "a certificate, or a chain, with its key of each type", %{chain: chain} do
      {:ECPrivateKey, der} = chain.key
      [{_, pkcs8, _}] = chain.key |> Make.key_pem(:pkcs8) |> :public_key.pem_decode()
      rsa = Make.chain({:rsa, 2_048, 65_537})

      for {cert, key, expected} <- [
            {chain.leaf, chain.key, {[chain.leaf], :sec1}},
            {[chain.leaf, chain.intermediate], chain.key,
             {[chain.leaf, chain.intermediate], :sec1}},
            {chain.leaf, {:PrivateKeyInfo, pkcs8}, {[chain.leaf], :pkcs8}},
            {chain.leaf, fn -> {:ECPrivateKey, der} end, {[chain.leaf], :sec1}},
            {rsa.leaf, rsa.key, {[rsa.leaf], :pkcs1}}
          ] do
        assert chain_of(cert: cert, key: key) == expected
      end
    end

    test "a sealed key is the same", %{chain: chain} do
      [cert: cert, key: key] = Seal.seal_tls(cert: chain.leaf, key: chain.key)
      assert is_function(key, 0)
      assert chain_of(cert: cert, key: key) == {[chain.leaf], :sec1}
    end

    test "one without the other", %{chain: chain} do
      assert problems(cert: chain.leaf) == [{[:tls, :cert], :missing_key}]
      assert problems(key: chain.key) == [{[:tls, :key], :missing_certificate}]
    end

    test "what is no certificate and no key is told, and not shown", %{chain: chain} do
      {:ECPrivateKey, der} = chain.key

      for {bad, reason} <- [
            {"hunter2", :invalid_value},
            {{:RSAPrivateKey, "hunter2"}, :malformed},
            {{:ECPrivateKey, :hunter2}, :invalid_value},
            {{:DSAPrivateKey, der}, :invalid_value},
            {{:hunter2, der}, :invalid_value},
            {fn -> "hunter2" end, :invalid_value},
            {fn -> fn -> chain.key end end, :invalid_value},
            {fn -> nil end, :invalid_value},
            {fn -> raise "hunter2" end, :function_failed},
            {fn -> throw("hunter2") end, :function_failed}
          ] do
        assert problems(cert: chain.leaf, key: bad) == [{[:tls, :key], reason}]
      end

      for bad <- ["hunter2", [], [chain.leaf | chain.leaf], [chain.leaf, "hunter2"], :leaf] do
        assert problems(cert: bad, key: chain.key) == [{[:tls, :cert], :malformed}]
      end

      assert problems(cert: "hunter2", key: "hunter2") == [
               {[:tls, :cert], :malformed},
               {[:tls, :key], :invalid_value}
             ]
    end

    test "what doesn't belong together is told", %{chain: chain, other: other} do
      assert problems(cert: chain.leaf, key: other.key) == [{[:tls, :key], :key_mismatch}]

      assert problems(cert: [chain.intermediate, chain.leaf], key: chain.key) ==
               [{[:tls, :cert], :certificate_order}]

      assert problems(cert: chain.leaf, key: chain.key, password: "hunter2") ==
               [{[:tls, :password], :conflict}]
    end

    test "files are the other way", context do
      %{chain: chain, certificate: certificate, key: key} = context

      assert problems(cert: chain.leaf, key: chain.key, certfile: certificate, keyfile: key) ==
               [{[:tls, :cert], :conflict}, {[:tls, :key], :conflict}]

      assert problems(certfile: certificate, key: chain.key) == [{[:tls, :key], :conflict}]
      assert problems(cert: chain.leaf, keyfile: key) == [{[:tls, :cert], :conflict}]
    end
  end

  test "a certificate with a key of an unknown kind", %{tmp_dir: dir, chain: chain} do
    # The identifier of elliptic curves' keys becomes one that nobody has.
    [known, unknown] = for last <- [1, 127], do: <<6, 7, 42, 134, 72, 206, 61, 2, last>>
    strange = String.replace(chain.leaf, known, unknown, global: false)
    assert strange != chain.leaf
    file = Make.write!(dir, "strange.der", strange)
    key = Make.write!(dir, "client.key", Make.key_pem(chain.key))

    assert problems(certfile: file, keyfile: key) == [{[:tls, :certfile], :unsupported_key}]
    assert problems(cert: strange, key: chain.key) == [{[:tls, :cert], :unsupported_key}]

    # An issuer's does no harm.
    assert chain_of(cert: [chain.leaf, strange], key: chain.key) ==
             {[chain.leaf, strange], :sec1}
  end

  describe "PKCS#12" do
    @describetag skip: @openssl

    setup context do
      %{tmp_dir: dir, chain: chain} = context
      bundle = Make.write!(dir, "bundle.pem", Make.key_pem(chain.key) <> Make.pem(chain.leaf))
      rest = Make.write!(dir, "rest.pem", Make.pem([chain.intermediate]))
      %{bundle: bundle, rest: rest}
    end

    defp keystore(context, name, arguments, password \\ "hunter2") do
      Make.openssl!(
        context.bundle,
        name,
        ~w(pkcs12 -export -certfile) ++ [context.rest, "-passout", "pass:#{password}" | arguments]
      )
    end

    test "has certificate, chain and key, and a password of any form", context do
      file = keystore(context, "client.p12", [])

      for password <- [
            "hunter2",
            ~c"hunter2",
            fn -> "hunter2" end,
            Secret.wrap("hunter2"),
            fn -> Secret.wrap("hunter2") end
          ] do
        assert chain_of(certfile: file, password: password) ==
                 {[context.chain.leaf, context.chain.intermediate], :pkcs8}
      end
    end

    test "a wrong password, or none, is told", context do
      file = keystore(context, "client.p12", [])

      for {password, reason} <- [
            {"hunter3", :wrong_password},
            {nil, :missing_password},
            {"", :empty},
            {:hunter2, :invalid_value},
            {fn -> raise "hunter2" end, :function_failed}
          ] do
        assert problems(certfile: file, password: password) == [{[:tls, :password], reason}]
      end

      assert {_, [%{message: message}]} = parse(certfile: file, password: "hunter3")
      assert message =~ "client.p12"
    end

    test "has its key, so another is one too many", %{key: key} = context do
      file = keystore(context, "client.p12", [])

      assert problems(certfile: file, keyfile: key, password: "hunter2") ==
               [{[:tls, :keyfile], :conflict}]

      # And is not a place for a key alone.
      assert problems(certfile: context.certificate, keyfile: file, password: "hunter2") ==
               [{[:tls, :keyfile], :unsupported_format}]
    end

    test "one without a key is told what to make", %{tmp_dir: dir} = context do
      file = Path.join(dir, "truststore.p12")
      arguments = ~w(pkcs12 -export -nokeys -passout pass:hunter2)
      Make.openssl!(context.rest, "truststore.p12", arguments)
      assert problems(certfile: file, password: "hunter2") == [{[:tls, :certfile], :no_key}]
    end
  end
end
